// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {
    DISPUTES,
    Directory,
    FEE_ACCOUNT,
    FILE_SALES,
    GRANTS,
    MARKET,
    MODEL_TITLES,
    SETTLEMENT_TOKEN
} from "./Directory.sol";
import {LICENSOR, Members, TITLE_SUBJECT, accountSubject, subjectOf} from "./Members.sol";
import {Conditions, IGrants, IRevenue, ITitles, MAX_AMOUNT, Share, WHOLE} from "./Ports.sol";

/// @title Revenue: the vault that holds all money of the market, and shares it out.
/// @notice Money is in one of two places: in a pot, which belongs to the contract that filled it, or in the credit of an
///         account, which that account alone claims. The law: `totalPots` and `totalCredits` together are the vault's
///         balance of the token, after every transaction.
///         What a title earns goes, in this order, to the platform (the fee), to the holders of its ancestors (their
///         shares of the whole amount), to whom the title's holder lets share in the rest, and the remainder to the
///         holder. An ancestor's share is revenue of the ancestor: its own holder's splits apply to it, its own
///         ancestors have theirs in the stack already. Shares round down, except that the shares of all ancestors
///         together are exactly what ERC-2981 quotes for the title; a share of zero is skipped.
///         A title is clear while neither it nor one of its ancestors is tagged by a ruling. What belongs to a title
///         that is not clear is withheld in a pot of the vault's own: its own revenue, also where only an ancestor is
///         tagged, because a derived model stands and falls with what it was made of; and its share as ancestor. The
///         platform's fee and the shares of ancestors that are clear themselves are paid all the same. Once the title is
///         clear again, the withheld money goes to its holder of that time; a ruling can award it to somebody else.
contract Revenue is IRevenue, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    enum Reason {
        PAYOUT,
        FEE,
        REVENUE,
        ROYALTY,
        SPLIT,
        FORFEIT
    }

    struct Split {
        address account;
        uint16 bps;
    }

    /// @notice Largest number of accounts that share in the revenue of a title.
    uint256 public constant MAX_SPLITS = 8;
    /// @notice Largest fee that is ever taken, in basis points, whatever a caller asks.
    uint16 public constant MAX_FEE_BPS = 1_000;

    Directory public immutable directory;
    Members public immutable members;
    /// @notice What all pots and credits are in: the token that the Directory named at the first payment. Another token
    ///         comes with another vault.
    IERC20 public token;
    uint256 public totalCredits;
    uint256 public totalPots;

    /// @notice What an account can claim.
    mapping(address account => uint256) public creditOf;
    /// @notice First second (Unix time) of a grant that no report covers yet; 0 before the first one.
    mapping(uint256 grantId => uint64) public reportedUntil;
    mapping(address owner => mapping(bytes32 pot => uint256)) private _pots;
    mapping(uint256 titleId => address holder) private _splitBy;
    mapping(uint256 titleId => Split[]) private _splits;

    event Funded(address indexed owner, bytes32 indexed pot, address indexed from, uint256 amount);
    event Credited(address indexed account, uint256 amount, uint256 indexed titleId, Reason reason);
    event Claimed(address indexed account, uint256 amount);
    event Withheld(uint256 indexed titleId, uint256 amount);
    event WithheldReleased(uint256 indexed titleId, uint256 amount);
    event Forfeited(uint256 indexed titleId, address indexed to, uint256 amount);
    event SplitsSet(uint256 indexed titleId, address indexed holder, address[] accounts, uint16[] bps);
    event Reported(
        uint256 indexed grantId,
        uint256 indexed titleId,
        address indexed licensee,
        uint64 from,
        uint64 to,
        uint256 gross,
        uint256 due,
        bytes32 reportDigest
    );

    error ZeroAmount();
    error AmountOutOfRange(uint256 amount);
    error EmptyDigest();
    error ShortPayment(uint256 needed, uint256 allowed);
    error ShortPot(uint256 needed, uint256 available);
    error FeeTooHigh(uint16 feeBps);
    error NothingToClaim(address account);
    error NotTitleHolder(address account, uint256 titleId);
    error NotGrantHolder(address account, uint256 grantId);
    error InvalidSplits();
    error InvalidPeriod(uint64 from, uint64 to);
    error NoRevenueShare(uint256 grantId);
    error TitleTagged(uint256 titleId);

    constructor(Directory directory_) {
        directory = directory_;
        members = directory_.members();
    }

    /// @inheritdoc IRevenue
    /// @param pot Which pot of the caller.
    /// @param from Who pays; the token refuses a held account.
    /// @param amount In the smallest unit, 1 to MAX_AMOUNT.
    function fund(bytes32 pot, address from, uint256 amount) external nonReentrant {
        _requireMarketContract();
        _put(msg.sender, pot, amount);
        emit Funded(msg.sender, pot, from, amount);
        _pull(from, amount);
    }

    /// @inheritdoc IRevenue
    /// @dev Whoever filled a pot empties it, also after the Directory has named a successor: refunds never get stuck.
    /// @param pot Which pot of the caller.
    /// @param to Whose credit grows.
    /// @param amount At most what stands in the pot, at least 1.
    function payOut(bytes32 pot, address to, uint256 amount) external nonReentrant {
        _take(msg.sender, pot, amount);
        _credit(to, amount, 0, Reason.PAYOUT);
    }

    /// @inheritdoc IRevenue
    /// @dev As `payOut`, the pot's own contract may always.
    /// @param pot Which pot of the caller.
    /// @param titleId Whose revenue it is.
    /// @param amount At most what stands in the pot, at least 1.
    /// @param feeBps The platform's fee, at most MAX_FEE_BPS.
    /// @return fee What went to the platform.
    /// @return royalty What went to the title's ancestors, or is withheld for them.
    function distribute(bytes32 pot, uint256 titleId, uint256 amount, uint16 feeBps)
        external
        nonReentrant
        returns (uint256 fee, uint256 royalty)
    {
        _take(msg.sender, pot, amount);
        return _share(titleId, amount, feeBps);
    }

    /// @notice Take the caller's whole credit out as tokens. Refused while its account is held.
    /// @return amount What it was.
    function claim() external nonReentrant returns (uint256 amount) {
        members.requireFree(accountSubject(msg.sender));
        amount = creditOf[msg.sender];
        if (amount == 0) revert NothingToClaim(msg.sender);
        creditOf[msg.sender] = 0;
        totalCredits -= amount;
        emit Claimed(msg.sender, amount);
        token.safeTransfer(msg.sender, amount);
    }

    /// @notice Let others share in what a title earns, after fee and ancestors, in place of earlier splits. They count
    ///         while the caller holds the title. Caller: the title holder; neither it nor the title is held, so that
    ///         held money is not led around the hold.
    /// @param titleId The title.
    /// @param accounts Members in force, at most MAX_SPLITS; none to keep everything.
    /// @param bps Basis points of each, at least 1, together at most WHOLE.
    function setSplits(uint256 titleId, address[] calldata accounts, uint16[] calldata bps) external {
        if (_titles().ownerOf(titleId) != msg.sender) revert NotTitleHolder(msg.sender, titleId);
        members.requireFreeRole(msg.sender, LICENSOR);
        members.requireFree(subjectOf(TITLE_SUBJECT, titleId));
        if (accounts.length != bps.length || accounts.length > MAX_SPLITS) revert InvalidSplits();
        delete _splits[titleId];
        _splitBy[titleId] = msg.sender;
        uint256 sum = 0;
        for (uint256 i = 0; i < accounts.length; ++i) {
            if (bps[i] == 0) revert InvalidSplits();
            members.requireRole(accounts[i], 0);
            sum += bps[i];
            _splits[titleId].push(Split(accounts[i], bps[i]));
        }
        if (sum > WHOLE) revert InvalidSplits();
        emit SplitsSet(titleId, msg.sender, accounts, bps);
    }

    /// @notice Report what was earned under a grant in a period, and pay the share that its conditions ask. A grant that
    ///         has ended can still be reported on, and a report of nothing is one too. Caller: the grant's holder.
    /// @param grantId The grant.
    /// @param from First second (Unix time) of the period; not before the grant's start or the last report's end.
    /// @param to First second after the period; not in the future.
    /// @param gross Revenue of the period in the smallest unit, up to MAX_AMOUNT.
    /// @param reportDigest Salted digest of the statement.
    function report(uint256 grantId, uint64 from, uint64 to, uint256 gross, bytes32 reportDigest)
        external
        nonReentrant
    {
        IGrants grants = IGrants(directory.resolve(GRANTS));
        if (grants.ownerOf(grantId) != msg.sender) revert NotGrantHolder(msg.sender, grantId);
        if (gross > MAX_AMOUNT) revert AmountOutOfRange(gross);
        if (reportDigest == 0) revert EmptyDigest();
        (uint256 offerId, uint256 titleId, uint64 startsAt,) = grants.windowOf(grantId);
        if (from < startsAt || from < reportedUntil[grantId] || to <= from || to > block.timestamp) {
            revert InvalidPeriod(from, to);
        }
        (Conditions memory conditions,, uint16 feeBps,) = grants.conditionsOf(offerId);
        if (conditions.revenueBps == 0) revert NoRevenueShare(grantId);
        uint256 due = gross * conditions.revenueBps / WHOLE;
        reportedUntil[grantId] = to;
        emit Reported(grantId, titleId, msg.sender, from, to, gross, due, reportDigest);
        if (due == 0) return;
        _share(titleId, due, feeBps);
        _pull(msg.sender, due);
    }

    /// @notice Pay what is withheld for a title to its holder, and to whom the holder lets share, now that the title is
    ///         clear. Anyone may; refused while the title is held.
    /// @param titleId The title.
    /// @return amount What it was.
    function releaseWithheld(uint256 titleId) external nonReentrant returns (uint256 amount) {
        members.requireFree(subjectOf(TITLE_SUBJECT, titleId));
        if (!_titles().isClear(titleId)) revert TitleTagged(titleId);
        amount = withheld(titleId);
        _take(address(this), bytes32(titleId), amount);
        emit WithheldReleased(titleId, amount);
        _pay(_titles(), titleId, amount, Reason.REVENUE);
    }

    /// @inheritdoc IRevenue
    /// @param titleId The title.
    /// @param to Whom the ruling awards it to.
    /// @return amount What it was.
    function forfeit(uint256 titleId, address to) external nonReentrant returns (uint256 amount) {
        directory.requireContract(DISPUTES, msg.sender);
        amount = withheld(titleId);
        if (amount == 0) return 0;
        _take(address(this), bytes32(titleId), amount);
        emit Forfeited(titleId, to, amount);
        _credit(to, amount, titleId, Reason.FORFEIT);
    }

    /// @inheritdoc IRevenue
    /// @param owner The contract that filled it; this vault itself for withheld money.
    /// @param pot Which of its pots.
    function inPot(address owner, bytes32 pot) external view returns (uint256) {
        return _pots[owner][pot];
    }

    /// @notice What is withheld for a title.
    /// @param titleId The title.
    /// @return The amount.
    function withheld(uint256 titleId) public view returns (uint256) {
        return _pots[address(this)][bytes32(titleId)];
    }

    /// @notice Who shares in what a title earns; nobody once the holder who said so holds it no more.
    /// @param titleId The title.
    /// @return The accounts and their basis points of what is left after fee and ancestors.
    function splitsOf(uint256 titleId) external view returns (Split[] memory) {
        return _splitBy[titleId] == _titles().ownerOf(titleId) ? _splits[titleId] : new Split[](0);
    }

    function _share(uint256 titleId, uint256 amount, uint16 feeBps) private returns (uint256 fee, uint256 royalty) {
        ITitles titles = _titles();
        fee = _payFee(titleId, amount, feeBps);
        royalty = _payAncestors(titles, titleId, amount);
        _pay(titles, titleId, amount - fee - royalty, Reason.REVENUE);
    }

    function _payFee(uint256 titleId, uint256 amount, uint16 feeBps) private returns (uint256 fee) {
        if (feeBps > MAX_FEE_BPS) revert FeeTooHigh(feeBps);
        address account = address(uint160(directory.parameter(FEE_ACCOUNT)));
        if (account == address(0)) return 0;
        fee = amount * feeBps / WHOLE;
        _credit(account, fee, titleId, Reason.FEE);
    }

    // Rounds the running sum, not each share, so that all together are what ERC-2981 quotes.
    function _payAncestors(ITitles titles, uint256 titleId, uint256 amount) private returns (uint256 royalty) {
        Share[] memory stack = titles.royaltyStack(titleId);
        uint256 bps = 0;
        for (uint256 i = 0; i < stack.length; ++i) {
            bps += stack[i].bps;
            uint256 paid = royalty;
            royalty = amount * bps / WHOLE;
            _pay(titles, stack[i].titleId, royalty - paid, Reason.ROYALTY);
        }
    }

    function _pay(ITitles titles, uint256 titleId, uint256 amount, Reason reason) private {
        if (amount == 0) return;
        if (!titles.isClear(titleId)) {
            _put(address(this), bytes32(titleId), amount);
            emit Withheld(titleId, amount);
            return;
        }
        address holder = titles.ownerOf(titleId);
        uint256 shared = _splitBy[titleId] == holder ? _paySplits(titleId, amount) : 0;
        _credit(holder, amount - shared, titleId, reason);
    }

    function _paySplits(uint256 titleId, uint256 amount) private returns (uint256 shared) {
        Split[] storage splits = _splits[titleId];
        for (uint256 i = 0; i < splits.length; ++i) {
            uint256 part = amount * splits[i].bps / WHOLE;
            shared += part;
            _credit(splits[i].account, part, titleId, Reason.SPLIT);
        }
    }

    function _credit(address account, uint256 amount, uint256 titleId, Reason reason) private {
        if (amount == 0) return;
        creditOf[account] += amount;
        totalCredits += amount;
        emit Credited(account, amount, titleId, reason);
    }

    function _put(address owner, bytes32 pot, uint256 amount) private {
        if (amount == 0) revert ZeroAmount();
        if (amount > MAX_AMOUNT) revert AmountOutOfRange(amount);
        _pots[owner][pot] += amount;
        totalPots += amount;
    }

    function _take(address owner, bytes32 pot, uint256 amount) private {
        if (amount == 0) revert ZeroAmount();
        uint256 available = _pots[owner][pot];
        if (amount > available) revert ShortPot(amount, available);
        _pots[owner][pot] = available - amount;
        totalPots -= amount;
    }

    function _pull(address from, uint256 amount) private {
        if (address(token) == address(0)) token = IERC20(directory.resolve(SETTLEMENT_TOKEN));
        uint256 allowed = token.allowance(from, address(this));
        uint256 balance = token.balanceOf(from);
        if (balance < allowed) allowed = balance;
        if (amount > allowed) revert ShortPayment(amount, allowed);
        token.safeTransferFrom(from, address(this), amount);
    }

    function _titles() private view returns (ITitles) {
        return ITitles(directory.resolve(MODEL_TITLES));
    }

    function _requireMarketContract() private view {
        uint256 caller = uint160(msg.sender);
        if (directory.parameter(MARKET) == caller || directory.parameter(FILE_SALES) == caller) return;
        directory.requireContract(DISPUTES, msg.sender);
    }
}
