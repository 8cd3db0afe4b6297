// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";

uint256 constant GOVERNOR = 1 << 0;
uint256 constant REGISTRAR = 1 << 1;
uint256 constant LICENSOR = 1 << 2;
uint256 constant LICENSEE = 1 << 3;
uint256 constant ANCHORER = 1 << 4;
uint256 constant REGULATOR = 1 << 5;
uint256 constant ARBITER = 1 << 6;
uint256 constant EXPERT = 1 << 7;
uint256 constant TREASURER = 1 << 8;
uint256 constant MARKER = 1 << 9;
uint256 constant ALL_ROLES = (1 << 10) - 1;

// What a hold or a case can be about: the kind in the first byte, its number or address in the last ones.
uint256 constant ACCOUNT_SUBJECT = 1 << 248;
uint256 constant TITLE_SUBJECT = 2 << 248;
uint256 constant GRANT_SUBJECT = 3 << 248;
uint256 constant SALE_SUBJECT = 4 << 248;
uint256 constant FILE_SALE_SUBJECT = 5 << 248;

/// @dev The subject of a kind and a number, which is below 2^248.
function subjectOf(uint256 kind, uint256 id) pure returns (bytes32) {
    return bytes32(kind | id);
}

/// @dev The subject that stands for an account.
function accountSubject(address account) pure returns (bytes32) {
    return bytes32(ACCOUNT_SUBJECT | uint256(uint160(account)));
}

/// @title Who may act: the members of the consortium, their roles, and what the regulator holds.
/// @notice A role is one bit. Names stay off the ledger: an organization is a salted digest, the key that it signs
///         documents with is the digest of an Ed25519 public key, and its proof of identity is the salted digest of
///         what a registrar checked. A governor cannot take its own role away, so there is always one left. The
///         deployer starts as a consortium of one: governor, registrar, anchorer, treasurer and marking service.
///         A hold stops a subject from moving; it names a case and a reason, ends by itself, and takes nothing away.
contract Members {
    struct Member {
        bytes32 organizationDigest;
        bytes32 signingKeyDigest;
        uint256 roles;
        uint64 validUntil;
        bool suspended;
    }

    struct Identity {
        bytes32 proofDigest;
        uint64 validUntil;
        address registrar;
    }

    struct Hold {
        bytes32 caseDigest;
        bytes32 reasonDigest;
        uint64 until;
        address regulator;
    }

    uint256 private constant FOUNDER_ROLES = GOVERNOR | REGISTRAR | ANCHORER | TREASURER | MARKER;

    /// @notice Longest time that one act can hold a subject; a longer hold is another act with a reason of its own.
    uint64 public constant MAX_HOLD = 90 days;

    mapping(address account => Member) private _members;
    mapping(address account => Identity) private _identities;
    mapping(bytes32 subject => Hold) private _holds;

    event Admitted(
        address indexed account,
        bytes32 organizationDigest,
        bytes32 signingKeyDigest,
        uint256 roles,
        uint64 validUntil
    );
    event Suspended(address indexed account);
    event KeyRotated(address indexed account, bytes32 signingKeyDigest, address indexed by);

    event Identified(address indexed account, bytes32 proofDigest, uint64 validUntil, address indexed registrar);
    event Held(
        bytes32 indexed subject,
        bytes32 indexed caseDigest,
        bytes32 reasonDigest,
        uint64 until,
        address indexed regulator
    );
    event Released(bytes32 indexed subject, bytes32 reasonDigest, address indexed regulator);

    error InvalidMember();
    error EmptyDigest();
    error InvalidHold(uint64 until);
    error NotHeld(bytes32 subject);
    error OnHold(bytes32 subject, bytes32 caseDigest, uint64 until);
    error UnknownMember(address account);
    error MissingRole(address account, uint256 role);
    error GovernorMustRemain(address account);

    constructor() {
        _admit(msg.sender, Member(bytes32(0), bytes32(0), FOUNDER_ROLES, type(uint64).max, false));
    }

    /// @notice Admit an account, or replace its record, and hand it the sent value for fees. Lifts a suspension.
    /// @param account The member's address.
    /// @param organizationDigest Salted digest of the organization's name.
    /// @param signingKeyDigest Digest of the Ed25519 public key that signs its documents.
    /// @param roles Sum of role bits, at least one.
    /// @param validUntil First second (Unix time) at which the membership no longer holds.
    function admit(
        address account,
        bytes32 organizationDigest,
        bytes32 signingKeyDigest,
        uint256 roles,
        uint64 validUntil
    ) external payable {
        requireRole(msg.sender, GOVERNOR);
        if (account == address(0) || roles == 0 || roles > ALL_ROLES || validUntil <= block.timestamp) {
            revert InvalidMember();
        }
        if (account == msg.sender && roles & GOVERNOR == 0) revert GovernorMustRemain(account);
        _admit(account, Member(organizationDigest, signingKeyDigest, roles, validUntil, false));
        if (msg.value > 0) Address.sendValue(payable(account), msg.value);
    }

    /// @notice Take all roles of a member until it is admitted again.
    /// @param account The member's address; not the caller's own.
    function suspend(address account) external {
        requireRole(msg.sender, GOVERNOR);
        if (account == msg.sender) revert GovernorMustRemain(account);
        _known(account).suspended = true;
        emit Suspended(account);
    }

    /// @notice Replace the key that a member signs documents with. The event names who did it: the member or a governor.
    /// @param account The member's address.
    /// @param signingKeyDigest Digest of the new Ed25519 public key.
    function rotateKey(address account, bytes32 signingKeyDigest) external {
        requireRole(msg.sender, account == msg.sender ? 0 : GOVERNOR);
        _known(account).signingKeyDigest = signingKeyDigest;
        emit KeyRotated(account, signingKeyDigest, msg.sender);
    }

    /// @notice Record that a member's organization proved its identity. Caller: a REGISTRAR, who checked the proof.
    /// @param account The member's address; not the caller's own.
    /// @param proofDigest Salted digest of the proof.
    /// @param validUntil First second (Unix time) at which the proof no longer counts.
    function identify(address account, bytes32 proofDigest, uint64 validUntil) external {
        requireRole(msg.sender, REGISTRAR);
        if (proofDigest == 0) revert EmptyDigest();
        if (account == msg.sender || validUntil <= block.timestamp) revert InvalidMember();
        _known(account);
        _identities[account] = Identity(proofDigest, validUntil, msg.sender);
        emit Identified(account, proofDigest, validUntil, msg.sender);
    }

    /// @notice Hold a subject: it cannot be transferred, sold or claimed until then. Refunds and evidence go on.
    ///         Replaces a hold that stands. Caller: a REGULATOR.
    /// @param subject What is held, as `subjectOf` and `accountSubject` write it.
    /// @param until First second (Unix time) after the hold; at most MAX_HOLD from now.
    /// @param caseDigest Salted digest of the case that the hold belongs to.
    /// @param reasonDigest Salted digest of the reason.
    function hold(bytes32 subject, uint64 until, bytes32 caseDigest, bytes32 reasonDigest) external {
        requireRole(msg.sender, REGULATOR);
        if (caseDigest == 0 || reasonDigest == 0) revert EmptyDigest();
        uint256 kind = uint256(subject) >> 248;
        if (kind == 0 || kind > 5 || until <= block.timestamp || until > block.timestamp + MAX_HOLD) {
            revert InvalidHold(until);
        }
        _holds[subject] = Hold(caseDigest, reasonDigest, until, msg.sender);
        emit Held(subject, caseDigest, reasonDigest, until, msg.sender);
    }

    /// @notice End a hold before its time. Caller: a REGULATOR.
    /// @param subject What is held.
    /// @param reasonDigest Salted digest of the reason.
    function release(bytes32 subject, bytes32 reasonDigest) external {
        requireRole(msg.sender, REGULATOR);
        if (reasonDigest == 0) revert EmptyDigest();
        if (!isHeld(subject)) revert NotHeld(subject);
        delete _holds[subject];
        emit Released(subject, reasonDigest, msg.sender);
    }

    /// @notice Revert if a subject is held now.
    /// @param subject What to check.
    function requireFree(bytes32 subject) public view {
        if (isHeld(subject)) revert OnHold(subject, _holds[subject].caseDigest, _holds[subject].until);
    }

    /// @notice Revert unless an account holds a role now and is not held: what a party of a sale has to be.
    /// @param account The address to check.
    /// @param role Role bits, all of which are required.
    function requireFreeRole(address account, uint256 role) external view {
        requireRole(account, role);
        requireFree(accountSubject(account));
    }

    /// @notice Whether a subject is held now.
    /// @param subject What to check.
    /// @return True from the hold on until before its last second, unless it was released.
    function isHeld(bytes32 subject) public view returns (bool) {
        return block.timestamp < _holds[subject].until;
    }

    /// @notice The newest hold on a subject, ended or not; all zero if there is none or it was released.
    /// @param subject What to look up.
    /// @return The hold.
    function holdOf(bytes32 subject) external view returns (Hold memory) {
        return _holds[subject];
    }

    /// @notice The newest proof of identity of an account, expired or not; all zero if there is none.
    /// @param account The address to look up.
    /// @return The record.
    function identityOf(address account) external view returns (Identity memory) {
        return _identities[account];
    }

    /// @notice Revert unless the account holds the role now.
    /// @param account The address to check.
    /// @param role Role bits, all of which are required; 0 asks for a membership in force.
    function requireRole(address account, uint256 role) public view {
        if (!hasRole(account, role)) revert MissingRole(account, role);
    }

    /// @notice Whether the account holds the role now: admitted, not suspended, not past its last second.
    /// @param account The address to check.
    /// @param role Role bits, all of which are required.
    /// @return True if it holds every one of them.
    function hasRole(address account, uint256 role) public view returns (bool) {
        Member storage member = _members[account];
        return !member.suspended && block.timestamp < member.validUntil && member.roles & role == role;
    }

    /// @notice The record of an account; all zero for a stranger.
    /// @param account The address to look up.
    /// @return The record as last admitted, suspended or rotated.
    function memberOf(address account) external view returns (Member memory) {
        return _members[account];
    }

    function _admit(address account, Member memory member) private {
        _members[account] = member;
        emit Admitted(account, member.organizationDigest, member.signingKeyDigest, member.roles, member.validUntil);
    }

    function _known(address account) private view returns (Member storage member) {
        member = _members[account];
        if (member.roles == 0) revert UnknownMember(account);
    }
}
