// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {LICENSEE, LICENSOR, REGISTRAR, Members} from "./Members.sol";
import {ModelTitles} from "./ModelTitles.sol";

/// @title Offers and grants: terms open to acceptance, and terms accepted by a licensee.
/// @notice A grant is an ERC-721 token of the licensee with a window [startsAt, expiresAt) and the commitment to its
///         mark identifier. Every identifier that was ever committed counts in `identifiersIssued`, whether expired,
///         revoked or reserved in a batch, because an attribution must answer for all of them.
contract Grants is ERC721 {
    struct Offer {
        uint256 titleId;
        bytes32 termsDigest;
        uint32 seats;
        bool revocable;
        bool transferable;
        bool withdrawn;
    }

    struct Grant {
        uint256 offerId;
        bytes32 acceptanceDigest;
        bytes32 markCommitment;
        uint64 startsAt;
        uint64 expiresAt;
        uint64 revokedAt;
        uint32 seat;
    }

    /// @notice Largest number of seats of an offer that counts them; the search for a free one walks over all.
    uint32 public constant MAX_SEATS = 256;

    Members public immutable members;
    ModelTitles public immutable titles;
    uint256 public offersMade;
    uint256 public grantsIssued;
    uint256 public batchesCommitted;
    uint256 public identifiersIssued;

    mapping(uint256 offerId => Offer) private _offers;
    mapping(uint256 grantId => Grant) private _grants;
    mapping(bytes32 commitment => bool) private _committed;
    // Per seat, the first second at which no grant holds it any more. Grants on one seat follow each other.
    mapping(uint256 offerId => uint64[]) private _freeFrom;

    event Offered(
        uint256 indexed offerId,
        uint256 indexed titleId,
        bytes32 termsDigest,
        bool revocable,
        bool transferable,
        uint32 seats
    );
    event OfferWithdrawn(uint256 indexed offerId);
    event Granted(
        uint256 indexed grantId,
        uint256 indexed offerId,
        address indexed licensee,
        uint256 titleId,
        bytes32 termsDigest,
        bytes32 acceptanceDigest,
        bytes32 markCommitment,
        uint64 startsAt,
        uint64 expiresAt,
        uint256 issuedTotal
    );
    event Revoked(uint256 indexed grantId, bytes32 reasonDigest);
    event BatchCommitted(uint256 indexed batchId, bytes32 root, uint32 count, uint256 issuedTotal);

    error NotTitleHolder(address account, uint256 titleId);
    error UnknownOffer(uint256 offerId);
    error OfferNotOpen(uint256 offerId);
    error TooManySeats(uint32 seats);
    error NoFreeSeat(uint256 offerId);
    error InvalidWindow();
    error CommitmentUsed(bytes32 commitment);
    error EmptyDigest();
    error EmptyBatch();
    error NotRevocable(uint256 grantId);
    error AlreadyRevoked(uint256 grantId);
    error GrantEnded(uint256 grantId);
    error NotTransferable(uint256 grantId);

    constructor(ModelTitles titles_) ERC721("Countermark Grant", "CMG") {
        titles = titles_;
        members = titles_.members();
    }

    /// @notice Offer a license. Caller: the title holder.
    /// @param titleId The title to license.
    /// @param termsDigest Digest of the terms document.
    /// @param revocable Whether the title holder may revoke grants under this offer.
    /// @param transferable Whether licensees may pass grants on to other licensees.
    /// @param seats Largest number of grants valid at one time, up to MAX_SEATS; 0 for any number.
    /// @return offerId The new offer, counted from 1.
    function offer(uint256 titleId, bytes32 termsDigest, bool revocable, bool transferable, uint32 seats)
        external
        returns (uint256 offerId)
    {
        _requireHolder(titleId);
        if (termsDigest == 0) revert EmptyDigest();
        if (seats > MAX_SEATS) revert TooManySeats(seats);
        offerId = ++offersMade;
        _offers[offerId] = Offer(titleId, termsDigest, seats, revocable, transferable, false);
        emit Offered(offerId, titleId, termsDigest, revocable, transferable, seats);
    }

    /// @notice Close an offer to further grants; those made stay valid. Caller: the title holder.
    /// @param offerId The offer.
    function withdrawOffer(uint256 offerId) external {
        Offer storage terms = _open(offerId);
        terms.withdrawn = true;
        emit OfferWithdrawn(offerId);
    }

    /// @notice Grant a license under an offer that the licensee accepted. Caller: the title holder.
    /// @param offerId The offer; not withdrawn.
    /// @param licensee A member with the role LICENSEE.
    /// @param acceptanceDigest Digest of the licensee's signed acceptance.
    /// @param markCommitment Commitment to the mark identifier; never used before.
    /// @param startsAt First second (Unix time) of the window.
    /// @param expiresAt First second after the window; in the future.
    /// @return grantId The new token, counted from 1.
    function grant(
        uint256 offerId,
        address licensee,
        bytes32 acceptanceDigest,
        bytes32 markCommitment,
        uint64 startsAt,
        uint64 expiresAt
    ) external returns (uint256 grantId) {
        Offer storage terms = _open(offerId);
        if (startsAt >= expiresAt || expiresAt <= block.timestamp) revert InvalidWindow();
        if (acceptanceDigest == 0) revert EmptyDigest();
        _commit(markCommitment, 1);
        uint32 seat = _takeSeat(offerId, terms.seats, startsAt, expiresAt);
        grantId = ++grantsIssued;
        _grants[grantId] = Grant(offerId, acceptanceDigest, markCommitment, startsAt, expiresAt, 0, seat);
        _mint(licensee, grantId);
        emit Granted(
            grantId,
            offerId,
            licensee,
            terms.titleId,
            terms.termsDigest,
            acceptanceDigest,
            markCommitment,
            startsAt,
            expiresAt,
            identifiersIssued
        );
    }

    /// @notice End a grant now. Caller: the present title holder, where the offer says revocable.
    /// @param grantId The grant.
    /// @param reasonDigest Digest of the statement of reasons.
    function revoke(uint256 grantId, bytes32 reasonDigest) external {
        _requireOwned(grantId);
        Grant storage given = _grants[grantId];
        Offer storage terms = _offers[given.offerId];
        _requireHolder(terms.titleId);
        if (!terms.revocable) revert NotRevocable(grantId);
        if (given.revokedAt != 0) revert AlreadyRevoked(grantId);
        if (block.timestamp >= given.expiresAt) revert GrantEnded(grantId);
        given.revokedAt = uint64(block.timestamp);
        if (terms.seats > 0) _leaveSeat(given);
        emit Revoked(grantId, reasonDigest);
    }

    /// @notice Commit identifiers in bulk, for instance those of decoys or of marks for many end users. Caller: a REGISTRAR.
    /// @param root Merkle root over the commitments; never used before.
    /// @param count How many identifiers stand under the root, at least 1.
    /// @return batchId The new batch, counted from 1.
    function commitBatch(bytes32 root, uint32 count) external returns (uint256 batchId) {
        members.requireRole(msg.sender, REGISTRAR);
        if (count == 0) revert EmptyBatch();
        _commit(root, count);
        batchId = ++batchesCommitted;
        emit BatchCommitted(batchId, root, count, identifiersIssued);
    }

    /// @notice Whether a grant was in force at a time: inside its window and before its revocation. Whether its holder
    ///         is a member in force is another question: `Members.hasRole`.
    /// @param grantId The grant.
    /// @param time Unix time in seconds. About the future, the answer is as things stand.
    /// @return True if it was; false also for a grant that does not exist.
    function permitted(uint256 grantId, uint64 time) external view returns (bool) {
        Grant storage given = _grants[grantId];
        return time >= given.startsAt && time < given.expiresAt && (given.revokedAt == 0 || time < given.revokedAt);
    }

    /// @notice An offer as it stands.
    /// @param offerId The offer.
    /// @return The offer.
    function offerRecord(uint256 offerId) external view returns (Offer memory) {
        return _known(offerId);
    }

    /// @notice A grant as it stands; its holder is `ownerOf`.
    /// @param grantId The grant.
    /// @return The grant.
    function grantRecord(uint256 grantId) external view returns (Grant memory) {
        _requireOwned(grantId);
        return _grants[grantId];
    }

    function _update(address to, uint256 tokenId, address auth) internal override returns (address from) {
        from = super._update(to, tokenId, auth);
        members.requireRole(to, LICENSEE);
        if (from != address(0)) _requireTransferable(from, tokenId);
    }

    function _requireTransferable(address from, uint256 grantId) private view {
        Grant storage given = _grants[grantId];
        members.requireRole(from, LICENSEE);
        if (!_offers[given.offerId].transferable) revert NotTransferable(grantId);
        if (given.revokedAt != 0 || block.timestamp >= given.expiresAt) revert GrantEnded(grantId);
    }

    function _requireHolder(uint256 titleId) private view {
        if (titles.ownerOf(titleId) != msg.sender) revert NotTitleHolder(msg.sender, titleId);
        members.requireRole(msg.sender, LICENSOR);
    }

    function _known(uint256 offerId) private view returns (Offer storage terms) {
        terms = _offers[offerId];
        if (terms.titleId == 0) revert UnknownOffer(offerId);
    }

    function _open(uint256 offerId) private view returns (Offer storage terms) {
        terms = _known(offerId);
        _requireHolder(terms.titleId);
        if (terms.withdrawn) revert OfferNotOpen(offerId);
    }

    function _commit(bytes32 commitment, uint32 count) private {
        if (commitment == 0) revert EmptyDigest();
        if (_committed[commitment]) revert CommitmentUsed(commitment);
        _committed[commitment] = true;
        identifiersIssued += count;
    }

    function _takeSeat(uint256 offerId, uint32 seats, uint64 startsAt, uint64 expiresAt) private returns (uint32) {
        if (seats == 0) return 0;
        uint64[] storage freeFrom = _freeFrom[offerId];
        uint256 used = freeFrom.length;
        for (uint32 seat = 0; seat < used; ++seat) {
            if (freeFrom[seat] <= startsAt) {
                freeFrom[seat] = expiresAt;
                return seat;
            }
        }
        if (used == seats) revert NoFreeSeat(offerId);
        freeFrom.push(expiresAt);
        return uint32(used);
    }

    // Only the last grant on a seat gives it back: another one may already wait behind an earlier grant.
    function _leaveSeat(Grant storage given) private {
        uint64[] storage freeFrom = _freeFrom[given.offerId];
        if (freeFrom[given.seat] != given.expiresAt) return;
        freeFrom[given.seat] = given.revokedAt > given.startsAt ? given.revokedAt : given.startsAt;
    }
}
