// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ANCHORER, GOVERNOR, Members} from "./Members.sol";

/// @title Anchors: checkpoints of append-only logs.
/// @notice A log only grows, and only its own anchorer speaks for it: the first member that anchored it, or the one it
///         was handed over to. The history is the event log.
contract Anchors {
    struct Anchor {
        uint64 size;
        uint64 anchoredAt;
        bytes32 root;
        bytes32 checkpointDigest;
    }

    Members public immutable members;

    mapping(bytes32 logId => Anchor) private _latest;
    mapping(bytes32 logId => address) public anchorerOf;

    event Anchored(bytes32 indexed logId, uint64 size, bytes32 root, bytes32 checkpointDigest);
    event HandedOver(bytes32 indexed logId, address indexed anchorer);

    error SizeMustGrow(bytes32 logId, uint64 size);
    error NotTheAnchorer(bytes32 logId, address anchorer);
    error EmptyDigest();

    constructor(Members members_) {
        members = members_;
    }

    /// @notice Anchor a checkpoint. Caller: the log's ANCHORER.
    /// @param logId Digest that names the log.
    /// @param size Number of entries; more than at the last anchor.
    /// @param root Merkle root over them.
    /// @param checkpointDigest Digest of the signed checkpoint.
    function anchor(bytes32 logId, uint64 size, bytes32 root, bytes32 checkpointDigest) external {
        members.requireRole(msg.sender, ANCHORER);
        if (root == 0 || checkpointDigest == 0) revert EmptyDigest();
        if (anchorerOf[logId] == address(0)) anchorerOf[logId] = msg.sender;
        if (anchorerOf[logId] != msg.sender) revert NotTheAnchorer(logId, anchorerOf[logId]);
        uint64 before = _latest[logId].size;
        if (size <= before) revert SizeMustGrow(logId, before);
        _latest[logId] = Anchor(size, uint64(block.timestamp), root, checkpointDigest);
        emit Anchored(logId, size, root, checkpointDigest);
    }

    /// @notice Hand a log over to another anchorer. Caller: its anchorer, or a GOVERNOR if that key is lost.
    /// @param logId Digest that names the log.
    /// @param anchorer The new one.
    function handOver(bytes32 logId, address anchorer) external {
        members.requireRole(msg.sender, msg.sender == anchorerOf[logId] ? ANCHORER : GOVERNOR);
        members.requireRole(anchorer, ANCHORER);
        anchorerOf[logId] = anchorer;
        emit HandedOver(logId, anchorer);
    }

    /// @notice The newest anchor of a log; all zero if there is none.
    /// @param logId Digest that names the log.
    /// @return The anchor.
    function latest(bytes32 logId) external view returns (Anchor memory) {
        return _latest[logId];
    }
}
