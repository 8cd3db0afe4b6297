// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {Directory, REVENUE} from "./Directory.sol";
import {Members, TREASURER, accountSubject} from "./Members.sol";
import {MAX_AMOUNT} from "./Ports.sol";

bytes32 constant CURRENCY = "market.currency"; // its code, as text; fixed for a token by its first issue

/// @title Settlement token: claims on deposits at a bank, in hundredths of the currency.
/// @notice Every issue and every redemption names a booking of the bank by a salted digest, each once. Members in
///         force receive tokens, and the vault (Revenue) takes them by its own hand alone, so that what it holds is
///         always what it has booked. A held account sends nothing. Whoever is a member no more can still send to
///         members and redeem: nobody but the regulator stops money, for a time, and nobody takes it.
contract SettlementToken is ERC20 {
    Directory public immutable directory;
    Members public immutable members;
    bytes32 private _currency;

    // The treasury's bookings stand under address zero, a holder's redemptions under its own: nobody uses up the
    // references of somebody else.
    mapping(address account => mapping(bytes32 bankReference => bool)) private _used;

    event Issued(address indexed to, uint256 amount, bytes32 indexed bankReference);
    event Redeemed(address indexed from, uint256 amount, bytes32 indexed bankReference);

    error EmptyDigest();
    error ZeroAmount();
    error AmountOutOfRange(uint256 amount);
    error ReferenceUsed(bytes32 bankReference);
    error OnlyByTheVault(address vault);

    constructor(Directory directory_) ERC20("Countermark Settlement", "") {
        directory = directory_;
        members = directory_.members();
    }

    /// @notice Issue tokens for a deposit. Caller: a TREASURER.
    /// @param to A member in force.
    /// @param amount In the smallest unit; all tokens together stay within MAX_AMOUNT.
    /// @param bankReference Salted digest of the bank's booking; never used for an issue before.
    function mint(address to, uint256 amount, bytes32 bankReference) external {
        members.requireRole(msg.sender, TREASURER);
        if (amount > MAX_AMOUNT || totalSupply() + amount > MAX_AMOUNT) revert AmountOutOfRange(amount);
        _use(address(0), amount, bankReference);
        if (_currency == 0) _currency = _currencyCode();
        emit Issued(to, amount, bankReference);
        _mint(to, amount);
    }

    /// @notice Give own tokens back for a payment out of the deposit.
    /// @param amount In the smallest unit.
    /// @param bankReference Salted digest of the payment; never used by the caller before.
    function redeem(uint256 amount, bytes32 bankReference) external {
        _use(msg.sender, amount, bankReference);
        emit Redeemed(msg.sender, amount, bankReference);
        _burn(msg.sender, amount);
    }

    /// @notice Whether a bank reference was used.
    /// @param account Whose redemption; zero for an issue.
    /// @param bankReference The reference.
    /// @return True if it was.
    function isUsed(address account, bytes32 bankReference) external view returns (bool) {
        return _used[account][bankReference];
    }

    /// @notice The currency's code: the Directory's "market.currency", as it was when the first tokens were issued.
    /// @return The code, CNY where the Directory names none.
    function symbol() public view override returns (string memory) {
        bytes32 code = _currencyCode();
        uint256 length = 0;
        while (length < 32 && code[length] != 0) ++length;
        bytes memory text = new bytes(length);
        for (uint256 i = 0; i < length; ++i) {
            text[i] = code[i];
        }
        return string(text);
    }

    /// @notice Decimals of an amount.
    /// @return 2: the smallest unit is a hundredth.
    function decimals() public pure override returns (uint8) {
        return 2;
    }

    function _update(address from, address to, uint256 value) internal override {
        if (from != address(0)) members.requireFree(accountSubject(from));
        address vault = directory.resolve(REVENUE);
        if (to == vault) {
            if (msg.sender != vault) revert OnlyByTheVault(vault);
        } else if (to != address(0)) {
            members.requireRole(to, 0);
        }
        super._update(from, to, value);
    }

    function _use(address account, uint256 amount, bytes32 bankReference) private {
        if (amount == 0) revert ZeroAmount();
        if (bankReference == 0) revert EmptyDigest();
        if (_used[account][bankReference]) revert ReferenceUsed(bankReference);
        _used[account][bankReference] = true;
    }

    function _currencyCode() private view returns (bytes32 code) {
        code = _currency;
        if (code == 0) code = bytes32(directory.parameter(CURRENCY));
        if (code == 0) code = "CNY";
    }
}
