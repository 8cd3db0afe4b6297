// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

// What the contracts ask of each other. Each finds the others through the Directory, by name, so that none of them
// needs another one's source.

/// @dev Largest amount and price: what canonical JSON carries exactly.
uint256 constant MAX_AMOUNT = 2 ** 53 - 1;
/// @dev Ten thousand basis points are the whole.
uint256 constant WHOLE = 10_000;

/// @dev A share of the revenue of a title that belongs to another title's holder.
struct Share {
    uint256 titleId;
    uint16 bps;
}

/// @dev What an offer fixes about every grant under it. Times and durations in seconds, amounts in the smallest unit.
struct Conditions {
    uint64 price; // of a grant, and of each renewal
    uint64 bond; // that the licensee leaves until the grant has ended
    uint64 duration; // of a grant bought on the market; 0 if `expiresAt` alone ends it
    uint64 expiresAt; // no grant under the offer is valid from here on; 0 for no such time
    uint32 seats; // grants valid at one time, up to MAX_SEATS; 0 for any number
    uint32 notice; // seconds between notice and the end of a grant
    uint16 scope; // bit mask of the acts allowed, in the order of the terms' scopes
    uint16 revenueBps; // share of the licensee's own revenue that it owes
    uint16 resaleBps; // royalty on a resale
    bool revocable; // by notice of the title holder; a ruling can always revoke
    bool resale; // whether the licensee may sell the grant on
    bool renewable;
    bool onMarket; // whether anyone may buy a grant at the price
    bytes32 territoryDigest; // digest of the territories allowed; 0 for worldwide
}

interface ITitles {
    function ownerOf(uint256 titleId) external view returns (address);

    /// @dev Shares of all ancestors, flattened at registration; at most 8, their sum capped.
    function royaltyStack(uint256 titleId) external view returns (Share[] memory);

    /// @dev Whether neither the title nor any of its ancestors is tagged by a ruling.
    function isClear(uint256 titleId) external view returns (bool);

    /// @dev Caller: the Market that the title's holder accepted. Reverts if the title is held, locked or tagged.
    function lockForSale(uint256 titleId, uint256 saleId) external;

    /// @dev Caller: the Market that locked the title.
    function unlock(uint256 titleId) external;

    /// @dev Caller: the Market that locked the title. Unlocks and moves it.
    function assignBySale(uint256 titleId, address to, bytes32 deedDigest) external;

    /// @dev Caller: Disputes. Setting what stands already changes nothing, so that no ruling gets stuck.
    function setTag(uint256 titleId, bool tagged, uint256 caseId) external;
}

interface IGrants {
    function ownerOf(uint256 grantId) external view returns (address);

    function permitted(uint256 grantId, uint64 time) external view returns (bool);

    /// @dev Conditions, title and platform fee (basis points, as of the offer) of an offer; reverts if unknown.
    function conditionsOf(uint256 offerId)
        external
        view
        returns (Conditions memory conditions, uint256 titleId, uint16 feeBps, bool open);

    /// @dev Offer, title and window of a grant; reverts if unknown. `endsAt` is the earlier of expiry and revocation.
    function windowOf(uint256 grantId)
        external
        view
        returns (uint256 offerId, uint256 titleId, uint64 startsAt, uint64 endsAt);

    /// @dev Whether a grant that starts then would find a seat, as things stand.
    function hasSeat(uint256 offerId, uint64 startsAt) external view returns (bool);

    /// @dev Caller: Market. The window follows from the conditions.
    function issue(
        uint256 offerId,
        address licensee,
        bytes32 acceptanceDigest,
        bytes32 markCommitment,
        uint64 startsAt
    ) external returns (uint256 grantId);

    /// @dev Caller: Market. Ends a grant now and issues another one for the rest of its window, on the same seat.
    function resell(uint256 grantId, address licensee, bytes32 acceptanceDigest, bytes32 markCommitment)
        external
        returns (uint256 newGrantId);

    /// @dev Caller: Market. Moves the end of a grant by its offer's duration.
    function renew(uint256 grantId) external returns (uint64 expiresAt);

    /// @dev Caller: Disputes. Ends a grant now, by ruling; one that has ended stays as it is, so that no ruling gets stuck.
    function strike(uint256 grantId, uint256 caseId) external;

    /// @dev Caller: Disputes. Stops a notice that has not taken effect, because its licensee opened a case; false, and no
    ///      change, if none runs.
    function stay(uint256 grantId, uint256 caseId) external returns (bool stayed);
}

interface IRevenue {
    /// @dev Caller: a contract of the market. Takes tokens, within the allowance, from `from` into one of the caller's
    ///      pots. `from` is the caller's own msg.sender.
    function fund(bytes32 pot, address from, uint256 amount) external;

    /// @dev Caller: the pot's contract. Credits an account out of the pot.
    function payOut(bytes32 pot, address to, uint256 amount) external;

    /// @dev Caller: the pot's contract. Shares an amount out as revenue of a title: platform fee, ancestors, the
    ///      holder's splits, the rest to the holder; what belongs to a tagged title is withheld. Returns what went to
    ///      the platform and to the ancestors.
    function distribute(bytes32 pot, uint256 titleId, uint256 amount, uint16 feeBps)
        external
        returns (uint256 fee, uint256 royalty);

    /// @dev Caller: Disputes. Credits what is withheld for a tagged title to `to`; 0 if there is nothing.
    function forfeit(uint256 titleId, address to) external returns (uint256 amount);

    /// @dev What stands in a pot of a contract.
    function inPot(address owner, bytes32 pot) external view returns (uint256);
}

interface IDisputes {
    /// @dev Whether a case about a subject is open, or ruled but not executed yet.
    function pending(bytes32 subject) external view returns (bool);
}

/// @dev Market and FileSales: who can bring a sale before an arbiter.
interface ISales {
    /// @dev Reverts if the sale is unknown. The address is zero where there is no such party (yet): a sale without a buyer,
    ///      a market sale, which has no marking service.
    function partiesOf(uint256 saleId) external view returns (address seller, address buyer, address service);
}

interface ISlashable {
    /// @dev Caller: Disputes. Credits the bond behind a grant or a sale to `to`; 0 if there is none left.
    function slash(uint256 id, address to) external returns (uint256 amount);
}
