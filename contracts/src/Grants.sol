// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {IERC165} from "@openzeppelin/contracts/interfaces/IERC165.sol";
import {IERC2981} from "@openzeppelin/contracts/interfaces/IERC2981.sol";
import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {DISPUTES, Directory, FEE_BPS, MARKET, MODEL_TITLES, REVENUE} from "./Directory.sol";
import {GRANT_SUBJECT, LICENSEE, LICENSOR, Members, REGISTRAR, TITLE_SUBJECT, subjectOf} from "./Members.sol";
import {Conditions, IDisputes, IGrants, ITitles, MAX_AMOUNT, WHOLE} from "./Ports.sol";

/// @title Offers and grants: terms open to acceptance, and terms accepted by a licensee.
/// @notice An offer fixes the conditions of every grant under it, and the platform's fee as of that moment. A grant is
///         an ERC-721 token of the licensee with a window [startsAt, expiresAt) and the commitment to its mark
///         identifier. It never changes hands: where the conditions allow resale, the market ends it and issues
///         another one with the buyer's own acceptance and commitment, so the transfers of ERC-721 all revert.
///         Every identifier that was ever committed counts in `identifiersIssued`, whether expired, revoked or
///         reserved in a batch, because an attribution must answer for all of them.
contract Grants is IGrants, IERC2981, ERC721 {
    struct Offer {
        uint256 titleId;
        bytes32 termsDigest;
        uint16 feeBps;
        bool withdrawn;
        Conditions conditions;
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
    /// @notice Largest royalty on a resale, in basis points.
    uint256 public constant MAX_RESALE_BPS = 5_000;
    /// @notice Longest duration of a grant, and of each renewal.
    uint64 public constant MAX_DURATION = 36_525 days;
    /// @notice Longest time between notice and the end of a grant.
    uint64 public constant MAX_NOTICE = 365 days;

    Directory public immutable directory;
    Members public immutable members;
    uint256 public offersMade;
    uint256 public grantsIssued;
    uint256 public batchesCommitted;
    uint256 public identifiersIssued;

    mapping(uint256 offerId => Offer) private _offers;
    mapping(uint256 grantId => Grant) private _grants;
    mapping(bytes32 commitment => bool) private _committed;
    // Per seat, the last grant on it; grants on one seat follow each other, each knows the one before it, and one that
    // was sold on knows the one in its place.
    mapping(uint256 offerId => uint256[] grantIds) private _lastOn;
    mapping(uint256 grantId => uint256) private _before;
    mapping(uint256 grantId => uint256) private _inPlaceOf;
    /// @notice The case for which a notice about a grant was stopped last; 0 if none was.
    mapping(uint256 grantId => uint256 caseId) public stayedFor;

    event Offered(
        uint256 indexed offerId, uint256 indexed titleId, bytes32 termsDigest, uint16 feeBps, Conditions conditions
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
    event Revoked(uint256 indexed grantId, bytes32 reasonDigest, uint64 effectiveAt);
    event NoticeWithdrawn(uint256 indexed grantId);
    event Resold(uint256 indexed grantId, uint256 indexed newGrantId, address from, address to);
    event Renewed(uint256 indexed grantId, uint64 expiresAt);
    event Struck(uint256 indexed grantId, uint256 indexed caseId);
    event Stayed(uint256 indexed grantId, uint256 indexed caseId);
    event BatchCommitted(uint256 indexed batchId, bytes32 root, uint32 count, uint256 issuedTotal);

    error NotTitleHolder(address account, uint256 titleId);
    error TitleTagged(uint256 titleId);
    error UnknownOffer(uint256 offerId);
    error OfferNotOpen(uint256 offerId);
    error EmptyScope();
    error AmountOutOfRange(uint256 amount);
    error RoyaltyTooHigh(uint256 bps);
    error InvalidDuration();
    error TooManySeats(uint32 seats);
    error NoFreeSeat(uint256 offerId);
    error InvalidWindow();
    error CommitmentUsed(bytes32 commitment);
    error EmptyDigest();
    error EmptyBatch();
    error NotRevocable(uint256 grantId);
    error AlreadyRevoked(uint256 grantId);
    error NoNotice(uint256 grantId);
    error NoticeStayed(uint256 grantId, uint256 caseId);
    error GrantEnded(uint256 grantId);
    error ResaleNotAllowed(uint256 grantId);
    error NotRenewable(uint256 grantId);
    error SaleRequired(uint256 grantId);

    constructor(Directory directory_) ERC721("Countermark Grant", "CMG") {
        directory = directory_;
        members = directory_.members();
    }

    /// @notice Offer a license. The platform's fee under this offer is that of this moment. Caller: the title holder.
    /// @param titleId The title to license; neither held nor tagged.
    /// @param termsDigest Digest of the terms document.
    /// @param conditions What the terms fix about every grant.
    /// @return offerId The new offer, counted from 1.
    function offer(uint256 titleId, bytes32 termsDigest, Conditions calldata conditions)
        external
        returns (uint256 offerId)
    {
        _requireHolder(titleId);
        _requireGrantable(titleId);
        if (termsDigest == 0) revert EmptyDigest();
        _check(conditions);
        offerId = ++offersMade;
        uint16 feeBps = uint16(directory.parameter(FEE_BPS)); // the Directory keeps it to 1,000
        _offers[offerId] = Offer(titleId, termsDigest, feeBps, false, conditions);
        emit Offered(offerId, titleId, termsDigest, feeBps, conditions);
    }

    /// @notice Close an offer to further grants; those made stay valid. Caller: the title holder.
    /// @param offerId The offer.
    function withdrawOffer(uint256 offerId) external {
        Offer storage terms = _open(offerId);
        terms.withdrawn = true;
        emit OfferWithdrawn(offerId);
    }

    /// @notice Grant a license under an offer that the licensee accepted, and paid off the ledger if at all. Caller:
    ///         the title holder.
    /// @param offerId The offer; not withdrawn, its title neither held nor tagged.
    /// @param licensee A member with the role LICENSEE, not held.
    /// @param acceptanceDigest Digest of the licensee's signed acceptance.
    /// @param markCommitment Commitment to the mark identifier; never used before.
    /// @param startsAt First second (Unix time) of the window.
    /// @param endsAt First second after the window; in the future, and no later than the conditions allow.
    /// @return grantId The new token, counted from 1.
    function grant(
        uint256 offerId,
        address licensee,
        bytes32 acceptanceDigest,
        bytes32 markCommitment,
        uint64 startsAt,
        uint64 endsAt
    ) external returns (uint256 grantId) {
        Offer storage terms = _open(offerId);
        if (endsAt > _endOf(terms, startsAt)) revert InvalidWindow();
        return _issue(licensee, Grant(offerId, acceptanceDigest, markCommitment, startsAt, endsAt, 0, 0));
    }

    /// @inheritdoc IGrants
    /// @param offerId The offer; it may have been withdrawn since it was paid.
    /// @param licensee A member with the role LICENSEE, not held.
    /// @param acceptanceDigest Digest of the licensee's signed acceptance.
    /// @param markCommitment Commitment to the mark identifier; never used before.
    /// @param startsAt First second (Unix time) of the window.
    /// @return grantId The new token.
    function issue(
        uint256 offerId,
        address licensee,
        bytes32 acceptanceDigest,
        bytes32 markCommitment,
        uint64 startsAt
    ) external returns (uint256 grantId) {
        directory.requireContract(MARKET, msg.sender);
        uint64 endsAt = _endOf(_known(offerId), startsAt);
        return _issue(licensee, Grant(offerId, acceptanceDigest, markCommitment, startsAt, endsAt, 0, 0));
    }

    /// @inheritdoc IGrants
    /// @param grantId The grant; running, without notice, and not held.
    /// @param licensee The buyer, a member with the role LICENSEE, not held.
    /// @param acceptanceDigest Digest of the buyer's signed acceptance.
    /// @param markCommitment Commitment to the buyer's mark identifier; never used before.
    /// @return newGrantId The new token.
    function resell(uint256 grantId, address licensee, bytes32 acceptanceDigest, bytes32 markCommitment)
        external
        returns (uint256 newGrantId)
    {
        directory.requireContract(MARKET, msg.sender);
        Grant storage given = _running(grantId);
        Offer storage terms = _offers[given.offerId];
        if (!terms.conditions.resale) revert ResaleNotAllowed(grantId);
        _requireClear(terms.titleId);
        members.requireFree(subjectOf(GRANT_SUBJECT, grantId));
        address from = _ownerOf(grantId);
        members.requireFreeRole(from, LICENSEE);
        uint64 now_ = uint64(block.timestamp);
        given.revokedAt = now_;
        uint64 startsAt = given.startsAt > now_ ? given.startsAt : now_;
        newGrantId = _mintGrant(
            licensee,
            Grant(given.offerId, acceptanceDigest, markCommitment, startsAt, given.expiresAt, 0, given.seat)
        );
        if (terms.conditions.seats > 0) {
            _before[newGrantId] = _before[grantId];
            _inPlaceOf[grantId] = newGrantId;
        }
        emit Resold(grantId, newGrantId, from, licensee);
    }

    /// @inheritdoc IGrants
    /// @param grantId The grant; running, without notice, and not held.
    /// @return endsAt The new end of its window.
    function renew(uint256 grantId) external returns (uint64 endsAt) {
        directory.requireContract(MARKET, msg.sender);
        Grant storage given = _running(grantId);
        Offer storage terms = _offers[given.offerId];
        if (!terms.conditions.renewable) revert NotRenewable(grantId);
        members.requireFree(subjectOf(GRANT_SUBJECT, grantId));
        members.requireFreeRole(_ownerOf(grantId), LICENSEE);
        _requireGrantable(terms.titleId);
        // Whoever waits behind it on its seat keeps the turn.
        if (terms.conditions.seats > 0 && _lastAt(given.offerId, given.seat) != grantId) revert NoFreeSeat(given.offerId);
        endsAt = _endOf(terms, given.expiresAt);
        if (endsAt <= given.expiresAt) revert InvalidWindow();
        given.expiresAt = endsAt;
        emit Renewed(grantId, endsAt);
    }

    /// @notice Give notice to a grant: it ends when the notice of its conditions has passed, at once where that is 0.
    ///         Caller: the present title holder, where the conditions say revocable.
    /// @param grantId The grant.
    /// @param reasonDigest Digest of the statement of reasons.
    function revoke(uint256 grantId, bytes32 reasonDigest) external {
        _requireOwned(grantId);
        Offer storage terms = _offers[_grants[grantId].offerId];
        _requireHolder(terms.titleId);
        if (!terms.conditions.revocable) revert NotRevocable(grantId);
        Grant storage given = _running(grantId);
        _requireNotStayed(grantId);
        given.revokedAt = uint64(block.timestamp) + terms.conditions.notice;
        emit Revoked(grantId, reasonDigest, given.revokedAt);
    }

    /// @notice Withdraw a notice before it takes effect. Caller: the present title holder.
    /// @param grantId The grant.
    function withdrawNotice(uint256 grantId) external {
        _requireOwned(grantId);
        _requireHolder(_offers[_grants[grantId].offerId].titleId);
        if (!_hasNotice(grantId)) revert NoNotice(grantId);
        _grants[grantId].revokedAt = 0;
        emit NoticeWithdrawn(grantId);
    }

    /// @inheritdoc IGrants
    /// @param grantId The grant; if it has ended already, it stays as it ended.
    /// @param caseId The case that was ruled on.
    function strike(uint256 grantId, uint256 caseId) external {
        directory.requireContract(DISPUTES, msg.sender);
        _requireOwned(grantId);
        Grant storage given = _grants[grantId];
        if (given.revokedAt == 0 || given.revokedAt > block.timestamp) given.revokedAt = uint64(block.timestamp);
        emit Struck(grantId, caseId);
    }

    /// @inheritdoc IGrants
    /// @param grantId The grant.
    /// @param caseId The case; while it is pending, no new notice can be given.
    function stay(uint256 grantId, uint256 caseId) external returns (bool stayed) {
        directory.requireContract(DISPUTES, msg.sender);
        _requireOwned(grantId);
        stayed = _hasNotice(grantId);
        if (!stayed) return false;
        _grants[grantId].revokedAt = 0;
        stayedFor[grantId] = caseId;
        emit Stayed(grantId, caseId);
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
    function permitted(uint256 grantId, uint64 time) public view returns (bool) {
        Grant storage given = _grants[grantId];
        return time >= given.startsAt && time < _endsAt(given);
    }

    /// @notice The holder of a grant, ended or not.
    /// @param tokenId The token; reverts if there is none.
    /// @return Its holder.
    function ownerOf(uint256 tokenId) public view override(ERC721, IGrants) returns (address) {
        return ERC721.ownerOf(tokenId);
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

    /// @inheritdoc IGrants
    /// @param offerId The offer.
    function conditionsOf(uint256 offerId)
        external
        view
        returns (Conditions memory conditions, uint256 titleId, uint16 feeBps, bool open)
    {
        Offer storage terms = _known(offerId);
        conditions = terms.conditions;
        open = !terms.withdrawn && (conditions.expiresAt == 0 || block.timestamp < conditions.expiresAt);
        return (conditions, terms.titleId, terms.feeBps, open);
    }

    /// @inheritdoc IGrants
    /// @param grantId The grant.
    function windowOf(uint256 grantId)
        external
        view
        returns (uint256 offerId, uint256 titleId, uint64 startsAt, uint64 endsAt)
    {
        _requireOwned(grantId);
        Grant storage given = _grants[grantId];
        return (given.offerId, _offers[given.offerId].titleId, given.startsAt, _endsAt(given));
    }

    /// @inheritdoc IGrants
    /// @param offerId The offer.
    /// @param startsAt First second (Unix time) of the grant.
    function hasSeat(uint256 offerId, uint64 startsAt) external view returns (bool) {
        uint32 seats = _known(offerId).conditions.seats;
        return seats == 0 || _seatFor(offerId, startsAt) < seats;
    }

    /// @notice Who may use the model now (as ERC-4907 names it): the holder of a grant in force.
    /// @param tokenId The grant.
    /// @return The holder, or zero.
    function userOf(uint256 tokenId) external view returns (address) {
        return permitted(tokenId, uint64(block.timestamp)) ? _ownerOf(tokenId) : address(0);
    }

    /// @notice First second (Unix time) at which the grant no longer permits use (as ERC-4907 names it).
    /// @param tokenId The grant.
    /// @return The earlier of its expiry and its revocation.
    function userExpires(uint256 tokenId) external view returns (uint256) {
        return expiresAt(tokenId);
    }

    /// @notice First second (Unix time) at which the grant no longer permits use (as ERC-5643 names it).
    /// @param tokenId The grant; reverts if there is none.
    /// @return The earlier of its expiry and its revocation.
    function expiresAt(uint256 tokenId) public view returns (uint64) {
        _requireOwned(tokenId);
        return _endsAt(_grants[tokenId]);
    }

    /// @notice Whether the conditions allow the grant to be renewed (as ERC-5643 names it).
    /// @param tokenId The grant; reverts if there is none.
    /// @return True if they do.
    function isRenewable(uint256 tokenId) external view returns (bool) {
        _requireOwned(tokenId);
        return _offers[_grants[tokenId].offerId].conditions.renewable;
    }

    /// @notice The royalty on a resale (ERC-2981).
    /// @param tokenId The grant; reverts if there is none.
    /// @param salePrice Any amount.
    /// @return receiver The vault that shares it out.
    /// @return royaltyAmount What of the amount belongs to the title.
    function royaltyInfo(uint256 tokenId, uint256 salePrice)
        external
        view
        returns (address receiver, uint256 royaltyAmount)
    {
        _requireOwned(tokenId);
        uint256 bps = _offers[_grants[tokenId].offerId].conditions.resaleBps;
        return (directory.resolve(REVENUE), Math.mulDiv(salePrice, bps, WHOLE));
    }

    /// @notice Which interfaces stand here: ERC-165, ERC-721 with its metadata, and ERC-2981. Of ERC-4907 and ERC-5643
    ///         the views alone stand here, so neither is named.
    /// @param interfaceId As ERC-165 counts it.
    /// @return Whether it does.
    function supportsInterface(bytes4 interfaceId) public view override(ERC721, IERC165) returns (bool) {
        return interfaceId == type(IERC2981).interfaceId || super.supportsInterface(interfaceId);
    }

    // `auth` is set where ERC-721's own transfers come in; all of them are refused.
    function _update(address to, uint256 tokenId, address auth) internal override returns (address) {
        if (auth != address(0)) revert SaleRequired(tokenId);
        return super._update(to, tokenId, auth);
    }

    function _check(Conditions calldata conditions) private pure {
        if (conditions.price > MAX_AMOUNT) revert AmountOutOfRange(conditions.price);
        if (conditions.bond > MAX_AMOUNT) revert AmountOutOfRange(conditions.bond);
        if (conditions.scope == 0) revert EmptyScope();
        if (conditions.revenueBps > WHOLE) revert RoyaltyTooHigh(conditions.revenueBps);
        if (conditions.resaleBps > MAX_RESALE_BPS) revert RoyaltyTooHigh(conditions.resaleBps);
        if (conditions.seats > MAX_SEATS) revert TooManySeats(conditions.seats);
        if (conditions.duration > MAX_DURATION || conditions.notice > MAX_NOTICE) revert InvalidDuration();
        if (conditions.duration == 0 && (conditions.expiresAt == 0 || conditions.renewable)) revert InvalidDuration();
    }

    function _issue(address licensee, Grant memory given) private returns (uint256 grantId) {
        Offer storage terms = _offers[given.offerId];
        _requireGrantable(terms.titleId);
        if (given.startsAt >= given.expiresAt || given.expiresAt <= block.timestamp) revert InvalidWindow();
        if (terms.conditions.seats == 0) return _mintGrant(licensee, given);
        given.seat = _freeSeat(given.offerId, terms.conditions.seats, given.startsAt);
        grantId = _mintGrant(licensee, given);
        _before[grantId] = _lastAt(given.offerId, given.seat);
        _lastOn[given.offerId][given.seat] = grantId;
    }

    function _mintGrant(address licensee, Grant memory given) private returns (uint256 grantId) {
        if (given.acceptanceDigest == 0) revert EmptyDigest();
        members.requireFreeRole(licensee, LICENSEE);
        _commit(given.markCommitment, 1);
        grantId = ++grantsIssued;
        _grants[grantId] = given;
        _mint(licensee, grantId);
        Offer storage terms = _offers[given.offerId];
        emit Granted(
            grantId,
            given.offerId,
            licensee,
            terms.titleId,
            terms.termsDigest,
            given.acceptanceDigest,
            given.markCommitment,
            given.startsAt,
            given.expiresAt,
            identifiersIssued
        );
    }

    function _commit(bytes32 commitment, uint32 count) private {
        if (commitment == 0) revert EmptyDigest();
        if (_committed[commitment]) revert CommitmentUsed(commitment);
        _committed[commitment] = true;
        identifiersIssued += count;
    }

    // Returns a seat that nobody holds at `startsAt` or later; a new one is taken at once.
    function _freeSeat(uint256 offerId, uint32 seats, uint64 startsAt) private returns (uint32 seat) {
        seat = _seatFor(offerId, startsAt);
        if (seat == seats) revert NoFreeSeat(offerId);
        if (seat == _lastOn[offerId].length) _lastOn[offerId].push(0);
    }

    // The first seat that nobody holds at `startsAt` or later; the number of seats in use if there is none.
    function _seatFor(uint256 offerId, uint64 startsAt) private view returns (uint32 seat) {
        uint256 used = _lastOn[offerId].length;
        for (seat = 0; seat < used; ++seat) {
            if (_freeFrom(_grants[_lastAt(offerId, seat)]) <= startsAt) return seat;
        }
    }

    // The last grant on a seat that was ever in force or may still be; 0 for none. One that was ended before it began
    // gives the seat back to the one before it.
    function _lastAt(uint256 offerId, uint32 seat) private view returns (uint256 grantId) {
        grantId = _lastOn[offerId][seat];
        while (grantId != 0) {
            Grant storage given = _grants[grantId];
            uint256 next = _inPlaceOf[grantId];
            if (next == 0) {
                if (!_endedEarly(given) || given.revokedAt > given.startsAt) return grantId;
                next = _before[grantId];
            }
            grantId = next;
        }
    }

    // A notice can still be withdrawn, so it frees no seat before it has taken effect.
    function _freeFrom(Grant storage given) private view returns (uint64) {
        return _endedEarly(given) ? _endsAt(given) : given.expiresAt;
    }

    function _endedEarly(Grant storage given) private view returns (bool) {
        return given.revokedAt != 0 && given.revokedAt <= block.timestamp;
    }

    function _hasNotice(uint256 grantId) private view returns (bool) {
        Grant storage given = _grants[grantId];
        return given.revokedAt > block.timestamp && given.expiresAt > block.timestamp;
    }

    function _endsAt(Grant storage given) private view returns (uint64) {
        return given.revokedAt != 0 && given.revokedAt < given.expiresAt ? given.revokedAt : given.expiresAt;
    }

    // The latest end that the conditions allow for a window, or for a renewal, that starts then.
    function _endOf(Offer storage terms, uint64 startsAt) private view returns (uint64) {
        Conditions storage conditions = terms.conditions;
        if (conditions.duration == 0) return conditions.expiresAt;
        if (startsAt > type(uint64).max - conditions.duration) revert InvalidWindow();
        uint64 ends = startsAt + conditions.duration;
        return conditions.expiresAt != 0 && conditions.expiresAt < ends ? conditions.expiresAt : ends;
    }

    function _running(uint256 grantId) private view returns (Grant storage given) {
        _requireOwned(grantId);
        given = _grants[grantId];
        if (given.revokedAt != 0) revert AlreadyRevoked(grantId);
        if (block.timestamp >= given.expiresAt) revert GrantEnded(grantId);
    }

    function _requireNotStayed(uint256 grantId) private view {
        uint256 caseId = stayedFor[grantId];
        if (caseId == 0) return;
        if (IDisputes(directory.resolve(DISPUTES)).pending(subjectOf(GRANT_SUBJECT, grantId))) {
            revert NoticeStayed(grantId, caseId);
        }
    }

    function _requireHolder(uint256 titleId) private view {
        if (_titles().ownerOf(titleId) != msg.sender) revert NotTitleHolder(msg.sender, titleId);
        members.requireRole(msg.sender, LICENSOR);
    }

    // A hold on a title or on its holder, or a tag on it or on an ancestor, stops offers, grants and renewals.
    function _requireGrantable(uint256 titleId) private view {
        members.requireFreeRole(_titles().ownerOf(titleId), LICENSOR);
        _requireClear(titleId);
    }

    function _requireClear(uint256 titleId) private view {
        members.requireFree(subjectOf(TITLE_SUBJECT, titleId));
        if (!_titles().isClear(titleId)) revert TitleTagged(titleId);
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

    function _titles() private view returns (ITitles) {
        return ITitles(directory.resolve(MODEL_TITLES));
    }
}
