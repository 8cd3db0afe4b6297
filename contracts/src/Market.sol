// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {
    DISPUTES,
    Directory,
    FEE_ACCOUNT,
    FEE_BPS,
    GRANTS,
    IDENTITY_REQUIRED,
    MODEL_TITLES,
    REVENUE
} from "./Directory.sol";
import {
    GRANT_SUBJECT,
    LICENSEE,
    LICENSOR,
    Members,
    REGISTRAR,
    SALE_SUBJECT,
    TITLE_SUBJECT,
    subjectOf
} from "./Members.sol";
import {
    Conditions,
    IDisputes,
    IGrants,
    IRevenue,
    ISales,
    ISlashable,
    ITitles,
    MAX_AMOUNT,
    WHOLE
} from "./Ports.sol";

/// @title Market: titles and licenses at a fixed price, and grants sold on where their conditions allow it.
/// @notice A title is sold in one transaction. A license, new or sold on, is paid first and delivered by a registrar,
///         who commits to the buyer's mark; until then the buyer's money waits in a pot of the sale, and comes back if
///         nothing is delivered. The licensee's bond stays in that pot until its grant has ended and a time of grace is
///         over, in which a leak can still be found; reselling the grant ends it and brings nothing back sooner.
///         A hold on an account, title, grant or sale stops offers, purchases and deliveries. It never stops a
///         withdrawal, a refund or the return of a bond.
contract Market is ISales, ISlashable, ReentrancyGuardTransient {
    enum Kind {
        NONE,
        TITLE,
        LICENSE,
        RESALE
    }

    enum State {
        NONE,
        OFFERED,
        PAID,
        SETTLED,
        REFUNDED,
        WITHDRAWN
    }

    struct Sale {
        Kind kind;
        State state;
        uint16 feeBps; // as of the offer
        uint64 price;
        address seller; // of a license: the title holder when it was bought
        address buyer; // zero before the payment
        uint64 bond; // that the buyer left
        uint64 subjectId; // title; offer of a license; grant that is sold on
        uint64 resultId; // title or new grant, once settled
        uint64 startsAt; // of a license
        uint64 deadline; // of the offer while OFFERED; from when on the buyer takes its money back while PAID
        bytes32 digest; // of the deed, or of the buyer's acceptance
    }

    /// @notice Time (seconds) that a registrar has to deliver what was paid.
    uint64 public constant DELIVERY_WINDOW = 7 days;
    /// @notice Time (seconds) between the end of a grant and the return of its bond.
    uint64 public constant BOND_GRACE = 30 days;

    /// @notice Longest time (seconds) between the start of a license and its purchase: nobody buys, after a leak, a
    ///         license that covers it.
    uint64 public constant MAX_BACKDATING = 1 days;

    // The pot that a renewal passes through; those of sales have the sale's number.
    bytes32 private constant RENEWALS = "renewals";

    Directory public immutable directory;
    Members public immutable members;
    /// @notice Where this market's money is: the vault that the Directory named at the first payment. Another vault
    ///         comes with another market, so that no sale loses its pot.
    IRevenue public vault;
    uint256 public salesMade;

    mapping(uint256 saleId => Sale) private _sales;
    /// @notice The sale, offered or paid, that a grant is sold on by; 0 if there is none.
    mapping(uint256 grantId => uint256 saleId) public resaleOf;
    /// @notice The sale that a grant came from; 0 if its title holder granted it without the market.
    mapping(uint256 grantId => uint256 saleId) public saleOf;

    event TitleOffered(
        uint256 indexed saleId,
        uint256 indexed titleId,
        address indexed seller,
        uint256 price,
        uint16 feeBps,
        bytes32 deedDigest,
        uint64 expiresAt
    );
    event GrantOffered(
        uint256 indexed saleId,
        uint256 indexed grantId,
        address indexed seller,
        uint256 price,
        uint16 feeBps,
        uint64 expiresAt
    );
    event SaleWithdrawn(uint256 indexed saleId);
    event Paid(
        uint256 indexed saleId,
        Kind kind,
        uint256 indexed subjectId,
        address indexed buyer,
        uint256 price,
        uint256 bond
    );
    event Settled(
        uint256 indexed saleId, Kind kind, uint256 indexed subjectId, uint256 fee, uint256 royalty, uint256 proceeds
    ); // the title, or the new grant
    event Refunded(uint256 indexed saleId, address indexed buyer, uint256 amount);
    event GrantRenewed(
        uint256 indexed grantId, uint64 expiresAt, uint256 price, uint256 fee, uint256 royalty, uint256 proceeds
    );
    event BondReturned(uint256 indexed grantId, address indexed to, uint256 amount);
    event BondSlashed(uint256 indexed grantId, address indexed to, uint256 amount);

    error ZeroAmount();
    error AmountOutOfRange(uint256 amount);
    error EmptyDigest();
    error InvalidWindow();
    error InvalidExpiry(uint64 expiresAt);
    error NotTitleHolder(address account, uint256 titleId);
    error NotGrantHolder(address account, uint256 grantId);
    error TitleTagged(uint256 titleId);
    error GrantNotInForce(uint256 grantId);
    error UnknownSale(uint256 saleId);
    error WrongKind(uint256 saleId);
    error SaleNotOpen(uint256 saleId);
    error SaleNotPaid(uint256 saleId);
    error AlreadyOffered(uint256 saleId);
    error OfferExpired(uint256 saleId);
    error NotSeller(address account, uint256 saleId);
    error NotBuyer(address account, uint256 saleId);
    error PriceChanged(uint256 price, uint256 maxPrice);
    error FeeChanged(uint16 feeBps, uint16 maxFeeBps);
    error NotOnMarket(uint256 offerId);
    error NoFreeSeat(uint256 offerId);
    error ResaleNotAllowed(uint256 grantId);
    error TooEarly(uint256 time);
    error CasePending(bytes32 subject);
    error NoBond(uint256 grantId);
    error IdentityMissing(address account);

    constructor(Directory directory_) {
        directory = directory_;
        members = directory_.members();
    }

    /// @notice Offer a title at a fixed price and lock it. The platform's fee is that of this moment. Caller: the title
    ///         holder.
    /// @param titleId The title; neither held, locked nor tagged.
    /// @param price In the smallest unit, 1 to MAX_AMOUNT.
    /// @param deedDigest Salted digest of the deed that the buyer takes the title over by.
    /// @param expiresAt First second (Unix time) at which the offer no longer stands; in the future.
    /// @return saleId The sale, counted from 1 over all kinds.
    function offerTitle(uint256 titleId, uint256 price, bytes32 deedDigest, uint64 expiresAt)
        external
        returns (uint256 saleId)
    {
        if (_titles().ownerOf(titleId) != msg.sender) revert NotTitleHolder(msg.sender, titleId);
        _requireParty(msg.sender, LICENSOR);
        if (deedDigest == 0) revert EmptyDigest();
        Sale memory sale = _offerOf(Kind.TITLE, titleId, price, expiresAt);
        sale.digest = deedDigest;
        saleId = _add(sale);
        emit TitleOffered(saleId, titleId, msg.sender, price, sale.feeBps, deedDigest, expiresAt);
        _titles().lockForSale(titleId, saleId);
    }

    /// @notice Offer a grant for resale at a fixed price, where its conditions allow resale. The platform's fee is that
    ///         of this moment. Caller: the grant's holder.
    /// @param grantId The grant; in force, neither held nor under a pending case, not offered already.
    /// @param price In the smallest unit, 1 to MAX_AMOUNT.
    /// @param expiresAt First second (Unix time) at which the offer no longer stands; in the future.
    /// @return saleId The sale.
    function offerGrant(uint256 grantId, uint256 price, uint64 expiresAt) external returns (uint256 saleId) {
        if (_grants().ownerOf(grantId) != msg.sender) revert NotGrantHolder(msg.sender, grantId);
        _requireParty(msg.sender, LICENSEE);
        Conditions memory conditions = _requireResalable(grantId);
        if (!conditions.resale) revert ResaleNotAllowed(grantId);
        if (resaleOf[grantId] != 0) revert AlreadyOffered(resaleOf[grantId]);
        Sale memory sale = _offerOf(Kind.RESALE, grantId, price, expiresAt);
        saleId = _add(sale);
        resaleOf[grantId] = saleId;
        emit GrantOffered(saleId, grantId, msg.sender, price, sale.feeBps, expiresAt);
    }

    /// @notice Take an offer back; a hold does not stop it. Caller: the seller, or anyone once it has expired.
    /// @param saleId The sale; not paid yet.
    function withdraw(uint256 saleId) external {
        Sale storage sale = _known(saleId);
        if (sale.state != State.OFFERED) revert SaleNotOpen(saleId);
        if (msg.sender != sale.seller && block.timestamp < sale.deadline) revert NotSeller(msg.sender, saleId);
        sale.state = State.WITHDRAWN;
        emit SaleWithdrawn(saleId);
        if (sale.kind == Kind.RESALE) delete resaleOf[sale.subjectId];
        else _titles().unlock(sale.subjectId);
    }

    /// @notice Buy a title: pays, shares the price out as revenue of the title under its seller, and moves it, all at
    ///         once. Caller: a LICENSOR who allowed the vault to take the price.
    /// @param saleId The sale.
    /// @param maxPrice The most that the buyer agrees to pay.
    function buyTitle(uint256 saleId, uint256 maxPrice) external nonReentrant {
        Sale storage sale = _offered(saleId, Kind.TITLE, maxPrice);
        _requireParty(sale.seller, LICENSOR);
        _requireParty(msg.sender, LICENSOR);
        sale.state = State.SETTLED;
        sale.buyer = msg.sender;
        sale.resultId = sale.subjectId;
        _pay(saleId, sale);
        (uint256 fee, uint256 royalty) = vault.distribute(bytes32(saleId), sale.subjectId, sale.price, sale.feeBps);
        emit Settled(saleId, Kind.TITLE, sale.subjectId, fee, royalty, sale.price - fee - royalty);
        _titles().assignBySale(sale.subjectId, msg.sender, sale.digest);
    }

    /// @notice Buy a license under an offer that is on the market: price and bond wait until it is delivered. Caller: a
    ///         LICENSEE who allowed the vault to take both.
    /// @param offerId The offer.
    /// @param acceptanceDigest Digest of the buyer's signed acceptance.
    /// @param startsAt First second (Unix time) of the grant; at most MAX_BACKDATING ago.
    /// @param maxPrice The most that the buyer agrees to pay, without the bond.
    /// @param maxFeeBps The largest platform fee that the buyer agrees to.
    /// @return saleId The sale.
    function buyLicense(
        uint256 offerId,
        bytes32 acceptanceDigest,
        uint64 startsAt,
        uint256 maxPrice,
        uint16 maxFeeBps
    ) external nonReentrant returns (uint256 saleId) {
        (Conditions memory conditions, uint256 titleId, uint16 feeBps, bool open) = _grants().conditionsOf(offerId);
        if (!open || !conditions.onMarket) revert NotOnMarket(offerId);
        if (conditions.price > maxPrice) revert PriceChanged(conditions.price, maxPrice);
        if (feeBps > maxFeeBps) revert FeeChanged(feeBps, maxFeeBps);
        if (acceptanceDigest == 0) revert EmptyDigest();
        _requireWindow(conditions, startsAt);
        // Two who pay for the last seat before either is delivered: the second gets its money back.
        if (!_grants().hasSeat(offerId, startsAt)) revert NoFreeSeat(offerId);
        _requireClear(titleId);
        address seller = _titles().ownerOf(titleId);
        _requireParty(seller, LICENSOR);
        _requireParty(msg.sender, LICENSEE);
        saleId = _add(
            Sale({
                kind: Kind.LICENSE,
                state: State.PAID,
                feeBps: feeBps,
                price: conditions.price,
                seller: seller,
                buyer: msg.sender,
                bond: conditions.bond,
                subjectId: uint64(offerId),
                resultId: 0,
                startsAt: startsAt,
                deadline: uint64(block.timestamp) + DELIVERY_WINDOW,
                digest: acceptanceDigest
            })
        );
        _pay(saleId, _sales[saleId]);
    }

    /// @notice Buy a grant that is sold on: the price, and the bond that its conditions ask, wait until it is delivered.
    ///         Caller: a LICENSEE who allowed the vault to take both.
    /// @param saleId The sale.
    /// @param acceptanceDigest Digest of the buyer's signed acceptance.
    /// @param maxPrice The most that the buyer agrees to pay, without the bond.
    function buyGrant(uint256 saleId, bytes32 acceptanceDigest, uint256 maxPrice) external nonReentrant {
        Sale storage sale = _offered(saleId, Kind.RESALE, maxPrice);
        if (acceptanceDigest == 0) revert EmptyDigest();
        Conditions memory conditions = _requireResalable(sale.subjectId);
        _requireParty(sale.seller, LICENSEE);
        _requireParty(msg.sender, LICENSEE);
        sale.state = State.PAID;
        sale.buyer = msg.sender;
        sale.bond = conditions.bond;
        sale.deadline = uint64(block.timestamp) + DELIVERY_WINDOW;
        sale.digest = acceptanceDigest;
        _pay(saleId, sale);
    }

    /// @notice Deliver a license that was paid, and share the price out: the grant is issued under the buyer's mark. A
    ///         grant that is sold on ends, and the royalty goes to its title before the seller gets the rest. Caller: a
    ///         REGISTRAR.
    /// @param saleId The sale.
    /// @param markCommitment Commitment to the buyer's mark identifier; never used before.
    /// @return grantId The new grant.
    function deliver(uint256 saleId, bytes32 markCommitment) external nonReentrant returns (uint256 grantId) {
        members.requireRole(msg.sender, REGISTRAR);
        Sale storage sale = _paid(saleId);
        members.requireFree(subjectOf(SALE_SUBJECT, saleId));
        sale.state = State.SETTLED;
        grantId = sale.kind == Kind.LICENSE
            ? _grants().issue(sale.subjectId, sale.buyer, sale.digest, markCommitment, sale.startsAt)
            : _resell(sale, markCommitment);
        sale.resultId = uint64(grantId);
        saleOf[grantId] = saleId;
        (uint256 fee, uint256 royalty) = _settle(saleId, sale);
        emit Settled(saleId, sale.kind, grantId, fee, royalty, sale.price - fee - royalty);
    }

    /// @notice Give price and bond of a sale that was not delivered back to its buyer; a hold does not stop it. Caller:
    ///         the buyer or the seller after the deadline, or a REGISTRAR at any time.
    /// @param saleId The sale.
    function refund(uint256 saleId) external nonReentrant {
        Sale storage sale = _paid(saleId);
        if (!members.hasRole(msg.sender, REGISTRAR)) {
            if (msg.sender != sale.buyer && msg.sender != sale.seller) revert NotBuyer(msg.sender, saleId);
            if (block.timestamp < sale.deadline) revert TooEarly(sale.deadline);
        }
        sale.state = State.REFUNDED;
        if (sale.kind == Kind.RESALE) delete resaleOf[sale.subjectId];
        uint256 amount = _inPot(saleId);
        emit Refunded(saleId, sale.buyer, amount);
        _payOut(saleId, sale.buyer, amount);
    }

    /// @notice Pay a grant's price again for another term, where its conditions say renewable. Caller: its holder, who
    ///         allowed the vault to take the price.
    /// @param grantId The grant; running, without notice, neither it nor its title nor a party held.
    /// @param maxPrice The most that the holder agrees to pay.
    /// @return expiresAt The new end of the grant (Unix time).
    function renew(uint256 grantId, uint256 maxPrice) external nonReentrant returns (uint64 expiresAt) {
        IGrants grants = _grants();
        if (grants.ownerOf(grantId) != msg.sender) revert NotGrantHolder(msg.sender, grantId);
        (uint256 offerId, uint256 titleId,,) = grants.windowOf(grantId);
        (Conditions memory conditions,, uint16 feeBps,) = grants.conditionsOf(offerId);
        uint256 price = conditions.price;
        if (price > maxPrice) revert PriceChanged(price, maxPrice);
        _requireParty(_titles().ownerOf(titleId), LICENSOR);
        _requireParty(msg.sender, LICENSEE);
        expiresAt = grants.renew(grantId);
        (uint256 fee, uint256 royalty) = (0, 0);
        if (price > 0) {
            _fund(RENEWALS, price);
            (fee, royalty) = vault.distribute(RENEWALS, titleId, price, feeBps);
        }
        emit GrantRenewed(grantId, expiresAt, price, fee, royalty, price - fee - royalty);
    }

    /// @notice Return the bond of a grant that ended at least BOND_GRACE ago to who left it; a hold does not stop it, a
    ///         pending case about the grant does. Anyone may.
    /// @param grantId The grant.
    function returnBond(uint256 grantId) external nonReentrant {
        uint256 amount = bondOf(grantId);
        if (amount == 0) revert NoBond(grantId);
        (,,, uint64 endsAt) = _grants().windowOf(grantId);
        uint256 freeFrom = uint256(endsAt) + BOND_GRACE;
        if (block.timestamp < freeFrom) revert TooEarly(freeFrom);
        _requireNoCase(grantId);
        uint256 saleId = saleOf[grantId];
        emit BondReturned(grantId, _sales[saleId].buyer, amount);
        _payOut(saleId, _sales[saleId].buyer, amount);
    }

    /// @inheritdoc ISlashable
    /// @param grantId The grant, ended or not.
    /// @param to Whom the ruling awards the bond to.
    /// @return amount What it was.
    function slash(uint256 grantId, address to) external nonReentrant returns (uint256 amount) {
        directory.requireContract(DISPUTES, msg.sender);
        amount = bondOf(grantId);
        if (amount == 0) return 0;
        emit BondSlashed(grantId, to, amount);
        _payOut(saleOf[grantId], to, amount);
    }

    /// @notice A sale as it stands.
    /// @param saleId The sale.
    /// @return The sale.
    function saleRecord(uint256 saleId) external view returns (Sale memory) {
        return _known(saleId);
    }

    /// @inheritdoc ISales
    /// @param saleId The sale.
    function partiesOf(uint256 saleId) external view returns (address seller, address buyer, address service) {
        Sale storage sale = _known(saleId);
        return (sale.seller, sale.buyer, address(0));
    }

    /// @notice What stands as bond behind a grant.
    /// @param grantId The grant.
    /// @return The amount; 0 if there never was one, or it was returned or slashed.
    function bondOf(uint256 grantId) public view returns (uint256) {
        // What stays in the pot of a settled sale is the bond.
        return saleOf[grantId] == 0 ? 0 : _inPot(saleOf[grantId]);
    }

    function _offerOf(Kind kind, uint256 subjectId, uint256 price, uint64 expiresAt)
        private
        view
        returns (Sale memory sale)
    {
        if (price == 0) revert ZeroAmount();
        if (price > MAX_AMOUNT) revert AmountOutOfRange(price);
        if (expiresAt <= block.timestamp) revert InvalidExpiry(expiresAt);
        sale.kind = kind;
        sale.state = State.OFFERED;
        sale.feeBps = uint16(directory.parameter(FEE_BPS)); // the Directory keeps it to 1,000
        sale.price = uint64(price);
        sale.seller = msg.sender;
        sale.subjectId = uint64(subjectId); // counted from 1
        sale.deadline = expiresAt;
    }

    function _add(Sale memory sale) private returns (uint256 saleId) {
        saleId = ++salesMade;
        _sales[saleId] = sale;
    }

    function _resell(Sale storage sale, bytes32 markCommitment) private returns (uint256) {
        _requireNoCase(sale.subjectId);
        delete resaleOf[sale.subjectId];
        return _grants().resell(sale.subjectId, sale.buyer, sale.digest, markCommitment);
    }

    function _settle(uint256 saleId, Sale storage sale) private returns (uint256 fee, uint256 royalty) {
        if (sale.price == 0) return (0, 0);
        if (sale.kind == Kind.RESALE) return _settleResale(saleId, sale);
        (, uint256 titleId,,) = _grants().conditionsOf(sale.subjectId);
        return vault.distribute(bytes32(saleId), titleId, sale.price, sale.feeBps);
    }

    // The royalty is revenue of the title. The platform takes its fee once, of the whole price.
    function _settleResale(uint256 saleId, Sale storage sale) private returns (uint256 fee, uint256 royalty) {
        (uint256 offerId, uint256 titleId,,) = _grants().windowOf(sale.subjectId);
        (Conditions memory conditions,,,) = _grants().conditionsOf(offerId);
        address account = address(uint160(directory.parameter(FEE_ACCOUNT)));
        uint256 price = sale.price;
        if (account != address(0)) fee = price * sale.feeBps / WHOLE;
        royalty = price * conditions.resaleBps / WHOLE;
        _payOut(saleId, account, fee);
        if (royalty > 0) vault.distribute(bytes32(saleId), titleId, royalty, 0);
        _payOut(saleId, sale.seller, price - fee - royalty);
    }

    function _pay(uint256 saleId, Sale storage sale) private {
        emit Paid(saleId, sale.kind, sale.subjectId, msg.sender, sale.price, sale.bond);
        uint256 amount = uint256(sale.price) + sale.bond;
        if (amount > 0) _fund(bytes32(saleId), amount);
    }

    function _fund(bytes32 pot, uint256 amount) private {
        if (address(vault) == address(0)) vault = IRevenue(directory.resolve(REVENUE));
        vault.fund(pot, msg.sender, amount);
    }

    function _payOut(uint256 saleId, address to, uint256 amount) private {
        if (amount > 0) vault.payOut(bytes32(saleId), to, amount);
    }

    function _inPot(uint256 saleId) private view returns (uint256) {
        return address(vault) == address(0) ? 0 : vault.inPot(address(this), bytes32(saleId));
    }

    function _known(uint256 saleId) private view returns (Sale storage sale) {
        sale = _sales[saleId];
        if (sale.kind == Kind.NONE) revert UnknownSale(saleId);
    }

    function _offered(uint256 saleId, Kind kind, uint256 maxPrice) private view returns (Sale storage sale) {
        sale = _known(saleId);
        if (sale.kind != kind) revert WrongKind(saleId);
        if (sale.state != State.OFFERED) revert SaleNotOpen(saleId);
        if (block.timestamp >= sale.deadline) revert OfferExpired(saleId);
        if (sale.price > maxPrice) revert PriceChanged(sale.price, maxPrice);
        members.requireFree(subjectOf(SALE_SUBJECT, saleId));
    }

    function _paid(uint256 saleId) private view returns (Sale storage sale) {
        sale = _known(saleId);
        if (sale.state != State.PAID) revert SaleNotPaid(saleId);
    }

    // What the Grants will ask again on delivery is asked before the money moves.
    function _requireResalable(uint256 grantId) private view returns (Conditions memory conditions) {
        IGrants grants = _grants();
        if (!grants.permitted(grantId, uint64(block.timestamp))) revert GrantNotInForce(grantId);
        members.requireFree(subjectOf(GRANT_SUBJECT, grantId));
        _requireNoCase(grantId);
        (uint256 offerId, uint256 titleId,,) = grants.windowOf(grantId);
        _requireClear(titleId);
        (conditions,,,) = grants.conditionsOf(offerId);
    }

    function _requireWindow(Conditions memory conditions, uint64 startsAt) private view {
        if (uint256(startsAt) + MAX_BACKDATING < block.timestamp) revert InvalidWindow();
        uint256 endsAt = uint256(startsAt) + conditions.duration;
        bool ended = conditions.duration != 0 && endsAt <= block.timestamp;
        if (ended || (conditions.expiresAt != 0 && startsAt >= conditions.expiresAt)) revert InvalidWindow();
    }

    function _requireClear(uint256 titleId) private view {
        members.requireFree(subjectOf(TITLE_SUBJECT, titleId));
        if (!_titles().isClear(titleId)) revert TitleTagged(titleId);
    }

    function _requireNoCase(uint256 grantId) private view {
        bytes32 subject = subjectOf(GRANT_SUBJECT, grantId);
        if (IDisputes(directory.resolve(DISPUTES)).pending(subject)) revert CasePending(subject);
    }

    function _requireParty(address account, uint256 role) private view {
        members.requireFreeRole(account, role);
        if (directory.parameter(IDENTITY_REQUIRED) != 1) return;
        if (members.identityOf(account).validUntil <= block.timestamp) revert IdentityMissing(account);
    }

    function _titles() private view returns (ITitles) {
        return ITitles(directory.resolve(MODEL_TITLES));
    }

    function _grants() private view returns (IGrants) {
        return IGrants(directory.resolve(GRANTS));
    }
}
