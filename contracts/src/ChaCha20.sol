// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// @title ChaCha20 as in RFC 8439, at about 6,300 gas for 64 bytes.
/// @notice Each of the four rows of the state stands in one word, a column in every lane of 64 bits, so that one
///         instruction acts on four columns. A number takes the lower half of its lane. The rows a and c, to which others
///         are only added, run over into the upper half and are cut at the end: 42 numbers make six bits more. The rows b
///         and d are cut whenever they are rotated: a number times 2^32 + 1 stands in its lane twice, and the lower half
///         of that, shifted right, is the number rotated. Rotating a whole word by lanes moves its row from the columns
///         of the state to the diagonals, and back; modulo 2^256 - 1 it is a multiplication, and the one word for which
///         that is wrong, all ones, has no lane that was cut.
library ChaCha20 {
    /// @dev Bytes of a block of the keystream.
    uint256 internal constant BLOCK_BYTES = 64;

    /// @dev Adds the keystream to data in place, which encrypts and decrypts.
    /// @param data The bytes; their number is a multiple of BLOCK_BYTES.
    /// @param key The key.
    /// @param counter Of the first block; it stays below 2^32 to the last.
    /// @param nonce The nonce's 12 bytes, read as a little-endian number.
    function xorKeystream(bytes memory data, bytes32 key, uint32 counter, uint96 nonce) internal pure {
        uint256 d = (uint256(counter) << 192) | (uint256(uint32(nonce)) << 128)
            | (uint256(uint32(nonce >> 32)) << 64) | (nonce >> 64);
        _xorBlocks(data, data.length, _row(uint256(key) >> 128), _row(uint256(key) % 2 ** 128), d);
    }

    // The rows b, c and d of the first block; a is the same in all of them, and d counts.
    function _xorBlocks(bytes memory data, uint256 end, uint256 b0, uint256 c0, uint256 d0) private pure {
        assembly ("memory-safe") {
            // The bytes of two rows, of which the first is shifted into the upper halves of the second's lanes.
            function bytesOf(x, full) -> y {
                // Within each number the bytes turn round, for the cipher writes it little-endian,
                let mask := div(full, 0x101)
                y := or(shl(8, and(x, mask)), and(shr(8, x), mask))
                mask := div(full, 0x10001)
                y := or(shl(16, and(y, mask)), and(shr(16, y), mask))
                // and x0 y0 x1 y1 x2 y2 x3 y3 becomes x0 x1 y0 y1 x2 x3 y2 y3 and then x0 x1 x2 x3 y0 y1 y2 y3.
                mask := and(xor(y, shr(32, y)), shl(32, mul(shr(224, full), 0x100000000000000000000000000000001)))
                y := xor(y, xor(mask, shl(32, mask)))
                mask := and(xor(y, shr(64, y)), shl(64, shr(192, full)))
                y := xor(y, xor(mask, shl(64, mask)))
            }

            // Computed from one another, or the optimizer copies them out of the code again and again.
            let full := not(0)
            let twice := 0x100000001
            let mask := div(full, twice)
            data := add(data, 32)
            for { end := add(data, end) } lt(data, end) { data := add(data, 64) } {
                let a := 0x61707865000000003320646e0000000079622d32000000006b206574
                let b := b0
                let c := c0
                let d := d0
                for { let i := 10 } i { i := sub(i, 1) } {
                    // Columns.
                    a := add(a, b)
                    d := and(shr(16, mul(and(xor(d, a), mask), twice)), mask)
                    c := add(c, d)
                    b := and(shr(20, mul(and(xor(b, c), mask), twice)), mask)
                    a := add(a, b)
                    d := and(shr(24, mul(and(xor(d, a), mask), twice)), mask)
                    c := add(c, d)
                    // To the diagonals: d three lanes on, b (rotated by 7 bits, too) one, c two.
                    d := mulmod(d, shl(192, 1), full)
                    b := and(mulmod(and(xor(b, c), mask), shl(39, twice), full), mask)
                    c := mulmod(c, shl(128, 1), full)
                    a := add(a, b)
                    d := and(shr(16, mul(and(xor(d, a), mask), twice)), mask)
                    c := add(c, d)
                    b := and(shr(20, mul(and(xor(b, c), mask), twice)), mask)
                    a := add(a, b)
                    d := and(shr(24, mul(and(xor(d, a), mask), twice)), mask)
                    c := add(c, d)
                    // And back: d one lane on, b (rotated by 7 bits, too) three, c two.
                    d := mulmod(d, shl(64, 1), full)
                    b := and(mulmod(and(xor(b, c), mask), shl(167, twice), full), mask)
                    c := mulmod(c, shl(128, 1), full)
                }
                a := and(add(a, 0x61707865000000003320646e0000000079622d32000000006b206574), mask)
                a := or(shl(32, a), and(add(b, b0), mask))
                c := or(shl(32, and(add(c, c0), mask)), and(add(d, d0), mask))
                mstore(data, xor(mload(data), bytesOf(a, full)))
                mstore(add(data, 32), xor(mload(add(data, 32)), bytesOf(c, full)))
                d0 := add(d0, shl(192, 1))
            }
        }
    }

    // Four numbers, 16 bytes little-endian, as a row.
    function _row(uint256 numbers) private pure returns (uint256 row) {
        assembly {
            let full := not(0)
            row := and(or(numbers, shl(64, numbers)), div(full, 0x10000000000000001))
            row := and(or(row, shl(32, row)), div(full, 0x100000001))
            let mask := div(full, 0x101)
            row := or(shl(8, and(row, mask)), and(shr(8, row), mask))
            mask := div(full, 0x10001)
            row := or(shl(16, and(row, mask)), and(shr(16, row), mask))
        }
    }
}
