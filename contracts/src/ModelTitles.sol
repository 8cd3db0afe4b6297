// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {LICENSOR, REGISTRAR, Members} from "./Members.sol";

/// @title Title to a model: one ERC-721 token per set of weights.
/// @notice Weights are named by the Merkle root over their tensors, and have one title for good. Only members with the
///         role LICENSOR can hold titles. Commitments to detection keys stand here before the first delivery.
contract ModelTitles is ERC721 {
    struct Title {
        bytes32 manifestDigest;
        bytes32 weightsRoot;
        bytes32 keyCommitment;
        uint64 epoch;
        uint64 registeredAt;
    }

    Members public immutable members;
    uint256 public titlesIssued;

    mapping(uint256 titleId => Title) private _titles;
    mapping(bytes32 weightsRoot => uint256 titleId) private _byWeights;

    event TitleRegistered(
        uint256 indexed titleId,
        address indexed holder,
        bytes32 indexed weightsRoot,
        bytes32 manifestDigest,
        bytes32 keyCommitment
    );
    event KeyCommitted(uint256 indexed titleId, uint64 epoch, bytes32 keyCommitment);

    error AlreadyRegistered(uint256 titleId);
    error UnknownTitle(uint256 titleId);
    error EmptyDigest();

    constructor(Members members_) ERC721("Countermark Model Title", "CMT") {
        members = members_;
    }

    /// @notice Register a model and mint its title. Caller: a REGISTRAR.
    /// @param to The holder, a member with the role LICENSOR.
    /// @param manifestDigest Digest of the signed manifest.
    /// @param weightsRoot Merkle root over the weights; never registered before.
    /// @param keyCommitment Commitment to the detection keys of epoch 0.
    /// @return titleId The new token, counted from 1.
    function register(address to, bytes32 manifestDigest, bytes32 weightsRoot, bytes32 keyCommitment)
        external
        returns (uint256 titleId)
    {
        members.requireRole(msg.sender, REGISTRAR);
        if (manifestDigest == 0 || weightsRoot == 0 || keyCommitment == 0) revert EmptyDigest();
        if (_byWeights[weightsRoot] != 0) revert AlreadyRegistered(_byWeights[weightsRoot]);
        titleId = ++titlesIssued;
        _byWeights[weightsRoot] = titleId;
        _titles[titleId] = Title(manifestDigest, weightsRoot, keyCommitment, 0, uint64(block.timestamp));
        _mint(to, titleId);
        emit TitleRegistered(titleId, to, weightsRoot, manifestDigest, keyCommitment);
        emit KeyCommitted(titleId, 0, keyCommitment);
    }

    /// @notice Open the next epoch of detection keys. Caller: a REGISTRAR.
    /// @param titleId The title whose model the keys are for.
    /// @param keyCommitment Commitment to the new keys.
    /// @return epoch The new epoch; earlier commitments stay in the event log.
    function commitKey(uint256 titleId, bytes32 keyCommitment) external returns (uint64 epoch) {
        members.requireRole(msg.sender, REGISTRAR);
        if (keyCommitment == 0) revert EmptyDigest();
        if (_ownerOf(titleId) == address(0)) revert UnknownTitle(titleId);
        Title storage title = _titles[titleId];
        epoch = ++title.epoch;
        title.keyCommitment = keyCommitment;
        emit KeyCommitted(titleId, epoch, keyCommitment);
    }

    /// @notice The title of a set of weights.
    /// @param weightsRoot Merkle root over the weights.
    /// @return The token, or 0 if there is none.
    function titleOf(bytes32 weightsRoot) external view returns (uint256) {
        return _byWeights[weightsRoot];
    }

    /// @notice What was registered under a title.
    /// @param titleId The token.
    /// @return The record, with the newest epoch's key commitment.
    function record(uint256 titleId) external view returns (Title memory) {
        if (_ownerOf(titleId) == address(0)) revert UnknownTitle(titleId);
        return _titles[titleId];
    }

    // Both sides are members in force: a suspended holder keeps its titles, but cannot move them out of reach.
    function _update(address to, uint256 tokenId, address auth) internal override returns (address from) {
        from = super._update(to, tokenId, auth);
        members.requireRole(to, LICENSOR);
        if (from != address(0)) members.requireRole(from, LICENSOR);
    }
}
