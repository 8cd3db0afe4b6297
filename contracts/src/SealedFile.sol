// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ChaCha20} from "./ChaCha20.sol";

/// @title A sealed file: its blocks encrypted under one key, and one root over what they are and what they should be.
/// @notice A file is a row of blocks of BLOCK_BYTES, the last one filled up with zeros. Everything is SHA-256:
///           plain leaf = H(key, index as 8 bytes, plain block)       hides the block until the key is known
///           leaf       = H(plain leaf, cipher block)
///           group      = H(8 leaves), missing ones zero
///           node       = H(left, right), a missing right one zero
///         and the root is the node over all groups. The four kinds of input have four lengths (552, 544, 256 and 64
///         bytes), so none can pose as another; the number of blocks fixes how far a leaf is below the root. Block i is
///         encrypted with ChaCha20 under the nonce i / SEGMENT_BLOCKS from the counter (i % SEGMENT_BLOCKS) * 8 on.
library SealedFile {
    /// @dev Bytes of a block.
    uint256 internal constant BLOCK_BYTES = 512;
    /// @dev Largest number of blocks: more than 500 TB.
    uint64 internal constant MAX_BLOCKS = 2 ** 40;

    uint256 private constant GROUP = 8;
    uint256 private constant SEGMENT_BLOCKS = 2048;
    uint256 private constant COUNTS = BLOCK_BYTES / ChaCha20.BLOCK_BYTES;

    /// @dev The leaf of a block.
    /// @param plainLeaf The plain leaf.
    /// @param cipherBlock The cipher block, BLOCK_BYTES long.
    function leafOf(bytes32 plainLeaf, bytes calldata cipherBlock) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(plainLeaf, cipherBlock));
    }

    /// @dev The root that a path leads to from a leaf; 0, which is no root, if the path has not one node for every level.
    /// @param leaf The leaf.
    /// @param index Its place, from 0; less than `blocks`.
    /// @param blocks How many blocks there are, at least 1.
    /// @param path The other leaves of the group in order, then the other node on every level.
    function rootOf(bytes32 leaf, uint256 index, uint256 blocks, bytes32[] calldata path)
        internal
        view
        returns (bytes32 root)
    {
        if (path.length < GROUP - 1) return 0;
        assembly ("memory-safe") {
            function hash(from, length) {
                if iszero(staticcall(gas(), 2, from, length, 0, 32)) { revert(0, 0) }
            }
            let group := mload(0x40)
            let place := shl(5, and(index, 7))
            calldatacopy(group, path.offset, place)
            mstore(add(group, place), leaf)
            calldatacopy(add(add(group, place), 32), add(path.offset, place), sub(224, place))
            hash(group, 256)
            let other := add(path.offset, 224)
            index := shr(3, index)
            // As many levels as the number of the last group has bits.
            for { let last := shr(3, sub(blocks, 1)) } last { last := shr(1, last) } {
                place := shl(5, and(index, 1))
                mstore(place, mload(0))
                mstore(xor(place, 32), calldataload(other))
                hash(0, 64)
                index := shr(1, index)
                other := add(other, 32)
            }
            if eq(other, add(path.offset, shl(5, path.length))) { root := mload(0) }
        }
    }

    /// @dev The plain leaf of what a cipher block decrypts to.
    /// @param key The key.
    /// @param index The block's place.
    /// @param cipherBlock The cipher block, BLOCK_BYTES long.
    function plainLeafOf(bytes32 key, uint64 index, bytes calldata cipherBlock) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(key, index, opened(key, index, cipherBlock)));
    }

    /// @dev What a cipher block decrypts to.
    /// @param key The key.
    /// @param index The block's place.
    /// @param cipherBlock The cipher block, BLOCK_BYTES long.
    function opened(bytes32 key, uint64 index, bytes calldata cipherBlock) internal pure returns (bytes memory plain) {
        plain = cipherBlock;
        uint32 counter = uint32((index % SEGMENT_BLOCKS) * COUNTS);
        ChaCha20.xorKeystream(plain, key, counter, uint96(index / SEGMENT_BLOCKS));
    }
}
