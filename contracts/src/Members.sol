// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";

uint256 constant GOVERNOR = 1 << 0;
uint256 constant REGISTRAR = 1 << 1;
uint256 constant LICENSOR = 1 << 2;
uint256 constant LICENSEE = 1 << 3;
uint256 constant ANCHORER = 1 << 4;
uint256 constant REGULATOR = 1 << 5;
uint256 constant ALL_ROLES = (1 << 6) - 1;

/// @title Who may act: the members of the consortium and their roles.
/// @notice A role is one bit. Names stay off the ledger: an organization is a salted digest, and the key that it signs
///         documents with is the digest of an Ed25519 public key. A governor cannot take its own role away, so there
///         is always one left. The deployer starts as a consortium of one: governor, registrar and anchorer.
contract Members {
    struct Member {
        bytes32 organizationDigest;
        bytes32 signingKeyDigest;
        uint256 roles;
        uint64 validUntil;
        bool suspended;
    }

    mapping(address account => Member) private _members;

    event Admitted(
        address indexed account,
        bytes32 organizationDigest,
        bytes32 signingKeyDigest,
        uint256 roles,
        uint64 validUntil
    );
    event Suspended(address indexed account);
    event KeyRotated(address indexed account, bytes32 signingKeyDigest, address indexed by);

    error InvalidMember();
    error UnknownMember(address account);
    error MissingRole(address account, uint256 role);
    error GovernorMustRemain(address account);

    constructor() {
        _admit(msg.sender, Member(bytes32(0), bytes32(0), GOVERNOR | REGISTRAR | ANCHORER, type(uint64).max, false));
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
