// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {
    DISPUTES,
    Directory,
    FEE_BPS,
    GRANTS,
    IDENTITY_REQUIRED,
    MODEL_TITLES,
    REVENUE
} from "./Directory.sol";
import {
    FILE_SALE_SUBJECT,
    GRANT_SUBJECT,
    LICENSEE,
    LICENSOR,
    MARKER,
    Members,
    TITLE_SUBJECT,
    accountSubject,
    subjectOf
} from "./Members.sol";
import {IDisputes, IGrants, IRevenue, ISales, ISlashable, ITitles, MAX_AMOUNT} from "./Ports.sol";
import {SealedFile} from "./SealedFile.sol";

/// @title File sales: a copy of a model for the holder of a grant, exchanged so that neither side can keep both.
/// @notice The marking service takes the seller's master, seals a copy for the grant and commits to it: what every block
///         decrypts to, every encrypted block, and the key. The buyer has the sealed copy and checks it against the
///         commitment before it pays; the money waits in the sale's pot. The service reveals the key, or the buyer gets
///         its money back. One block that does not decrypt to what was committed is proven here, and costs the service
///         the price and its bond, which both go to the buyer; a block that is right proves nothing, so an honest
///         service loses neither. Without a proof in COMPLAINT_WINDOW the price is shared out as revenue of the title.
///
///         The service's bond answers for what it committed to being true of the copy, which is provable; not for being
///         late, which a hold or a halted chain can cause: then the money goes back and the bond too. The seller's bond
///         answers for the master, whose worth is no matter of blocks: an arbiter rules on it, and a ruling against the
///         seller undoes a sale that is not settled.
///
///         A hold on an account, title, grant or sale stops offers, deliveries, payments, keys and settlements. It never
///         stops a complaint, a refund or the return of a bond.
contract FileSales is ISales, ISlashable, ReentrancyGuardTransient {
    enum State {
        NONE,
        DELIVERED, // waits for the payment
        PAID, // waits for the key
        REVEALED, // waits for complaints
        SETTLED,
        REFUNDED,
        ABORTED
    }

    struct Listing {
        address seller;
        uint64 bond; // that answers for the master
        bool withdrawn;
        uint64 titleId;
        uint64 expiresAt; // no copy is delivered from here on
        uint64 openSales; // delivered and not over yet
        uint64 bondFreeFrom; // BOND_GRACE after the last sale was over; 0 before one was
        uint64 price; // of a copy
        bytes32 termsDigest;
    }

    /// @dev `since` is the time of the step that led to the state. What a complaint reads stands together.
    struct Sale {
        address buyer;
        State state;
        uint64 since;
        uint16 feeBps; // as of the delivery
        address service;
        uint64 grantId;
        uint64 listingId;
        uint64 price;
        uint64 bond; // of the service
        uint64 blocks;
        bytes32 cipherRoot;
        bytes32 keyDigest;
        bytes32 plainRoot;
        bytes32 attestationDigest;
        bytes32 markDigest; // zero: unmarked
    }

    /// @notice Time (seconds) that the buyer has to fetch, check and pay.
    uint64 public constant PAY_WINDOW = 7 days;
    /// @notice Time (seconds) that the service has to reveal the key.
    uint64 public constant REVEAL_WINDOW = 1 days;
    /// @notice Time (seconds) that the buyer has to decrypt and complain.
    uint64 public constant COMPLAINT_WINDOW = 3 days;
    /// @notice Time (seconds) between the end of a listing's last sale and the return of the seller's bond.
    uint64 public constant BOND_GRACE = 30 days;
    /// @notice Largest number of copies that are delivered under one listing, and that one bond answers for.
    uint256 public constant MAX_COPIES = 64;

    Directory public immutable directory;
    Members public immutable members;
    /// @notice Where the money of these sales is: the vault that the Directory named at the first payment. Another vault
    ///         comes with another contract, so that no sale loses its pot.
    IRevenue public vault;
    uint256 public listingsMade;
    uint256 public salesMade;

    mapping(uint256 listingId => Listing) private _listings;
    mapping(uint256 saleId => Sale) private _sales;
    mapping(uint256 listingId => uint64[]) private _salesOf;
    mapping(bytes32 keyDigest => bool) private _keyUsed;

    event Listed(
        uint256 indexed listingId,
        uint256 indexed titleId,
        address indexed seller,
        uint256 price,
        uint256 bond,
        bytes32 termsDigest,
        uint64 expiresAt
    );
    event ListingWithdrawn(uint256 indexed listingId, uint256 bond); // that came back now
    event Delivered(
        uint256 indexed saleId,
        uint256 indexed listingId,
        address indexed buyer,
        uint256 grantId,
        address service,
        uint256 price,
        uint16 feeBps,
        uint256 bond,
        bytes32 plainRoot,
        bytes32 cipherRoot,
        bytes32 keyDigest,
        uint64 blocks,
        bytes32 attestationDigest,
        bytes32 markDigest
    );
    event Paid(uint256 indexed saleId, address indexed buyer, uint256 price);
    event KeyRevealed(uint256 indexed saleId, bytes32 key);
    event Complained(uint256 indexed saleId, uint64 index);
    event Settled(uint256 indexed saleId, uint256 fee, uint256 royalty, uint256 proceeds);
    event Refunded(uint256 indexed saleId, address indexed buyer, uint256 amount);
    event Aborted(uint256 indexed saleId);
    event BondSlashed(uint256 indexed listingId, uint256 indexed saleId, address indexed to, uint256 amount);

    error ZeroAmount();
    error AmountOutOfRange(uint256 amount);
    error EmptyDigest();
    error InvalidExpiry(uint64 expiresAt);
    error BlocksOutOfRange(uint64 blocks);
    error NotTitleHolder(address account, uint256 titleId);
    error TitleTagged(uint256 titleId);
    error GrantNotInForce(uint256 grantId);
    error GrantOfAnotherTitle(uint256 grantId, uint256 titleId);
    error KeyUsed(bytes32 keyDigest);
    error WrongKey(uint256 saleId);
    error UnknownListing(uint256 listingId);
    error ListingNotOpen(uint256 listingId);
    error ListingFull(uint256 listingId);
    error BondNotFree(uint256 listingId);
    error UnknownSale(uint256 saleId);
    error WrongSaleState(uint256 saleId, State saleState);
    error NotTheSeller(address account, uint256 listingId);
    error NotBuyer(address account, uint256 saleId);
    error NotTheService(address account, uint256 saleId);
    error PriceChanged(uint256 price, uint256 maxPrice);
    error TooEarly(uint256 time);
    error TooLate(uint256 time);
    error BlockOutOfRange(uint64 index, uint64 blocks);
    error WrongBlockLength(uint256 length);
    error PathInvalid(uint256 saleId, uint64 index);
    error BlockIsRight(uint256 saleId, uint64 index);
    error CasePending(bytes32 subject);
    error IdentityMissing(address account);

    constructor(Directory directory_) {
        directory = directory_;
        members = directory_.members();
    }

    /// @notice Offer copies of a title's model to the holders of its grants. The bond, which may be 0, waits in a pot of
    ///         the listing. Caller: the title holder, a LICENSOR, who allowed the vault to take it.
    /// @param titleId The title; clear and not held.
    /// @param price Of a copy, in the smallest unit, 1 to MAX_AMOUNT.
    /// @param sellerBond That answers for the master, 0 to MAX_AMOUNT.
    /// @param termsDigest Salted digest of what the buyers are bound to beside their grants.
    /// @param expiresAt First second (Unix time) at which no copy is delivered any more.
    /// @return listingId The listing, counted from 1.
    function offer(uint256 titleId, uint256 price, uint256 sellerBond, bytes32 termsDigest, uint64 expiresAt)
        external
        nonReentrant
        returns (uint256 listingId)
    {
        if (price == 0) revert ZeroAmount();
        if (price > MAX_AMOUNT) revert AmountOutOfRange(price);
        if (sellerBond > MAX_AMOUNT) revert AmountOutOfRange(sellerBond);
        if (termsDigest == 0) revert EmptyDigest();
        if (expiresAt <= block.timestamp) revert InvalidExpiry(expiresAt);
        _requireSellable(titleId, msg.sender);
        listingId = ++listingsMade;
        _listings[listingId] = Listing(
            msg.sender, uint64(sellerBond), false, uint64(titleId), expiresAt, 0, 0, uint64(price), termsDigest
        );
        emit Listed(listingId, titleId, msg.sender, price, sellerBond, termsDigest, expiresAt);
        if (sellerBond > 0) _fund(_listingPot(listingId), sellerBond);
    }

    /// @notice Take an offer of copies back: nothing is delivered any more. The bond comes back at once if no copy was
    ///         ever delivered, and otherwise on a call BOND_GRACE after the last sale was over, when no case about one of
    ///         them is pending. A hold does not stop it. Caller: the seller.
    /// @param listingId The listing.
    function withdrawListing(uint256 listingId) external nonReentrant {
        Listing storage listing = _knownListing(listingId);
        if (msg.sender != listing.seller) revert NotTheSeller(msg.sender, listingId);
        uint256 bond = _isBondFree(listingId, listing) ? listing.bond : 0;
        if (listing.withdrawn && bond == 0) revert BondNotFree(listingId);
        listing.withdrawn = true;
        if (bond > 0) listing.bond = 0;
        emit ListingWithdrawn(listingId, bond);
        if (bond > 0) vault.payOut(_listingPot(listingId), msg.sender, bond);
    }

    /// @notice Commit to a sealed copy that was handed to the holder of a grant, with a bond that waits in the sale's
    ///         pot. Price and fee are those of this moment. Caller: a MARKER, the marking service, who allowed the vault
    ///         to take the bond.
    /// @param listingId The listing; neither withdrawn nor expired, its seller still the title holder.
    /// @param grantId The buyer's grant; of that title and in force.
    /// @param plainRoot Digest of the copy: its files' names and sizes, and the plain leaves of its blocks.
    /// @param cipherRoot Root over plain leaves and cipher blocks, as in SealedFile.
    /// @param keyDigest SHA-256 of the key; of no other sale.
    /// @param blocks How many blocks there are.
    /// @param attestationDigest Digest of what the service signed about master, copy and mark.
    /// @param markDigest Commitment to the mark in this copy; 0 says that it is unmarked.
    /// @param bond In the smallest unit, 1 to MAX_AMOUNT.
    /// @return saleId The sale, counted from 1.
    function deliver(
        uint256 listingId,
        uint256 grantId,
        bytes32 plainRoot,
        bytes32 cipherRoot,
        bytes32 keyDigest,
        uint64 blocks,
        bytes32 attestationDigest,
        bytes32 markDigest,
        uint256 bond
    ) external nonReentrant returns (uint256 saleId) {
        members.requireFreeRole(msg.sender, MARKER);
        if (plainRoot == 0 || cipherRoot == 0 || keyDigest == 0 || attestationDigest == 0) revert EmptyDigest();
        if (blocks == 0 || blocks > SealedFile.MAX_BLOCKS) revert BlocksOutOfRange(blocks);
        if (bond == 0) revert ZeroAmount();
        if (bond > MAX_AMOUNT) revert AmountOutOfRange(bond);
        if (_keyUsed[keyDigest]) revert KeyUsed(keyDigest);
        _keyUsed[keyDigest] = true;
        saleId = ++salesMade;
        Sale storage sale = _sales[saleId];
        _open(saleId, sale, listingId, grantId);
        sale.service = msg.sender;
        sale.bond = uint64(bond);
        sale.blocks = blocks;
        sale.cipherRoot = cipherRoot;
        sale.plainRoot = plainRoot;
        sale.keyDigest = keyDigest;
        sale.attestationDigest = attestationDigest;
        sale.markDigest = markDigest;
        _emitDelivered(saleId, sale);
        _fund(bytes32(saleId), bond);
    }

    /// @notice Pay for a sealed copy. Check it against `saleRecord` first: what is not in it is not promised. The price
    ///         waits in the sale's pot. Caller: the buyer, a LICENSEE, who allowed the vault to take it.
    /// @param saleId The sale; delivered at most PAY_WINDOW ago, its grant in force.
    /// @param maxPrice The most that the buyer agrees to pay.
    function pay(uint256 saleId, uint256 maxPrice) external nonReentrant {
        Sale storage sale = _in(saleId, State.DELIVERED);
        if (msg.sender != sale.buyer) revert NotBuyer(msg.sender, saleId);
        _requireBefore(sale.since + PAY_WINDOW);
        if (sale.price > maxPrice) revert PriceChanged(sale.price, maxPrice);
        Listing storage listing = _listings[sale.listingId];
        if (listing.withdrawn) revert ListingNotOpen(sale.listingId);
        _requireSellable(listing.titleId, listing.seller);
        _requireParty(msg.sender, LICENSEE);
        _requireGrant(sale.grantId);
        _requireMoving(saleId, sale);
        _enter(sale, State.PAID);
        emit Paid(saleId, msg.sender, sale.price);
        _fund(bytes32(saleId), sale.price);
    }

    /// @notice Reveal the key of a paid sale, to everybody: who has no sealed copy has no use for it. Caller: the service
    ///         that delivered.
    /// @param saleId The sale; paid less than REVEAL_WINDOW ago.
    /// @param key What `keyDigest` is the digest of.
    function reveal(uint256 saleId, bytes32 key) external {
        Sale storage sale = _in(saleId, State.PAID);
        if (msg.sender != sale.service) revert NotTheService(msg.sender, saleId);
        _requireBefore(sale.since + REVEAL_WINDOW);
        _requireMoving(saleId, sale);
        _requireKey(saleId, sale, key);
        _enter(sale, State.REVEALED);
        emit KeyRevealed(saleId, key);
    }

    /// @notice Prove that a block does not decrypt to what was committed: price and bond go to the buyer. A hold does not
    ///         stop it. Caller: the buyer.
    /// @param saleId The sale; revealed less than COMPLAINT_WINDOW ago.
    /// @param key The key as it was revealed.
    /// @param index The block's place, from 0.
    /// @param cipherBlock The block as it was handed over.
    /// @param plainLeaf What was committed about it.
    /// @param path The other leaves of its group in order, then the other node on every level up to the root.
    function complain(
        uint256 saleId,
        bytes32 key,
        uint64 index,
        bytes calldata cipherBlock,
        bytes32 plainLeaf,
        bytes32[] calldata path
    ) external nonReentrant {
        Sale storage sale = _in(saleId, State.REVEALED);
        if (msg.sender != sale.buyer) revert NotBuyer(msg.sender, saleId);
        _requireBefore(sale.since + COMPLAINT_WINDOW);
        _requireKey(saleId, sale, key);
        uint64 blocks = sale.blocks;
        if (index >= blocks) revert BlockOutOfRange(index, blocks);
        if (cipherBlock.length != SealedFile.BLOCK_BYTES) revert WrongBlockLength(cipherBlock.length);
        bytes32 root = SealedFile.rootOf(SealedFile.leafOf(plainLeaf, cipherBlock), index, blocks, path);
        if (root != sale.cipherRoot) revert PathInvalid(saleId, index);
        if (SealedFile.plainLeafOf(key, index, cipherBlock) == plainLeaf) revert BlockIsRight(saleId, index);
        _close(sale, State.REFUNDED);
        emit Complained(saleId, index);
        _refund(saleId, sale, uint256(sale.price) + sale.bond);
    }

    /// @notice End a sale that nobody complained about: the price is shared out as revenue of the title, the bond goes
    ///         back to the service. Anyone may; not while the sale or its title is held, or a case about it is pending.
    /// @param saleId The sale; revealed at least COMPLAINT_WINDOW ago.
    function settle(uint256 saleId) external nonReentrant {
        Sale storage sale = _in(saleId, State.REVEALED);
        _requireAfter(sale.since + COMPLAINT_WINDOW);
        bytes32 subject = subjectOf(FILE_SALE_SUBJECT, saleId);
        members.requireFree(subject);
        if (_isPending(subject)) revert CasePending(subject);
        uint256 titleId = _listings[sale.listingId].titleId;
        members.requireFree(subjectOf(TITLE_SUBJECT, titleId));
        _close(sale, State.SETTLED);
        (uint256 fee, uint256 royalty) = vault.distribute(bytes32(saleId), titleId, sale.price, sale.feeBps);
        emit Settled(saleId, fee, royalty, sale.price - fee - royalty);
        vault.payOut(bytes32(saleId), sale.service, sale.bond);
    }

    /// @notice End a sale before the key is revealed: the money goes back to the buyer, the bond to the service. A hold
    ///         does not stop it. Caller: the service at any time; anyone once the payment is PAY_WINDOW, or the key
    ///         REVEAL_WINDOW overdue.
    /// @param saleId The sale; delivered or paid.
    function abort(uint256 saleId) external nonReentrant {
        Sale storage sale = _knownSale(saleId);
        bool paid = sale.state == State.PAID;
        if (!paid && sale.state != State.DELIVERED) revert WrongSaleState(saleId, sale.state);
        if (msg.sender != sale.service) _requireAfter(sale.since + (paid ? REVEAL_WINDOW : PAY_WINDOW));
        _close(sale, State.ABORTED);
        emit Aborted(saleId);
        if (paid) _refund(saleId, sale, sale.price);
        vault.payOut(bytes32(saleId), sale.service, sale.bond);
    }

    /// @inheritdoc ISlashable
    /// @dev The seller's bond goes to whom the ruling names. A sale that is paid and not settled is undone with it: the
    ///      money goes back to the buyer, the bond to the service. Nothing is delivered under the listing any more.
    /// @param saleId The sale, over or not.
    /// @param to Whom the ruling awards the bond to.
    /// @return amount What it was.
    function slash(uint256 saleId, address to) external nonReentrant returns (uint256 amount) {
        directory.requireContract(DISPUTES, msg.sender);
        Sale storage sale = _knownSale(saleId);
        uint256 listingId = sale.listingId;
        Listing storage listing = _listings[listingId];
        bool undone = sale.state == State.PAID || sale.state == State.REVEALED;
        amount = listing.bond;
        listing.bond = 0;
        listing.withdrawn = true;
        if (undone) _close(sale, State.REFUNDED);
        emit BondSlashed(listingId, saleId, to, amount);
        if (amount > 0) vault.payOut(_listingPot(listingId), to, amount);
        if (!undone) return amount;
        _refund(saleId, sale, sale.price);
        vault.payOut(bytes32(saleId), sale.service, sale.bond);
    }

    /// @notice A listing as it stands.
    /// @param listingId The listing.
    /// @return The listing.
    function listingRecord(uint256 listingId) external view returns (Listing memory) {
        return _knownListing(listingId);
    }

    /// @notice A sale as it stands.
    /// @param saleId The sale.
    /// @return The sale.
    function saleRecord(uint256 saleId) external view returns (Sale memory) {
        return _knownSale(saleId);
    }

    /// @inheritdoc ISales
    /// @param saleId The sale.
    function partiesOf(uint256 saleId) external view returns (address seller, address buyer, address service) {
        Sale storage sale = _knownSale(saleId);
        return (_listings[sale.listingId].seller, sale.buyer, sale.service);
    }

    /// @notice What this contract decrypts a block to: anyone can check it against a cipher of its own.
    /// @param key The key.
    /// @param index The block's place, from 0.
    /// @param cipherBlock The encrypted block.
    /// @return plain The block.
    /// @return plainLeaf What it is committed by.
    function opened(bytes32 key, uint64 index, bytes calldata cipherBlock)
        external
        pure
        returns (bytes memory plain, bytes32 plainLeaf)
    {
        return (SealedFile.opened(key, index, cipherBlock), SealedFile.plainLeafOf(key, index, cipherBlock));
    }

    function _open(uint256 saleId, Sale storage sale, uint256 listingId, uint256 grantId) private {
        Listing storage listing = _knownListing(listingId);
        uint64[] storage copies = _salesOf[listingId];
        if (listing.withdrawn || block.timestamp >= listing.expiresAt) revert ListingNotOpen(listingId);
        if (copies.length == MAX_COPIES) revert ListingFull(listingId);
        uint256 titleId = listing.titleId;
        _requireSellable(titleId, listing.seller);
        IGrants grants = _requireGrant(grantId);
        (, uint256 granted,,) = grants.windowOf(grantId);
        if (granted != titleId) revert GrantOfAnotherTitle(grantId, titleId);
        sale.buyer = grants.ownerOf(grantId);
        _requireParty(sale.buyer, LICENSEE);
        sale.feeBps = uint16(directory.parameter(FEE_BPS)); // the Directory keeps it to 1,000
        sale.grantId = uint64(grantId); // grants and listings are counted from 1
        sale.listingId = uint64(listingId);
        sale.price = listing.price;
        ++listing.openSales;
        copies.push(uint64(saleId));
        _enter(sale, State.DELIVERED);
    }

    function _emitDelivered(uint256 saleId, Sale storage sale) private {
        emit Delivered(
            saleId,
            sale.listingId,
            sale.buyer,
            sale.grantId,
            sale.service,
            sale.price,
            sale.feeBps,
            sale.bond,
            sale.plainRoot,
            sale.cipherRoot,
            sale.keyDigest,
            sale.blocks,
            sale.attestationDigest,
            sale.markDigest
        );
    }

    function _enter(Sale storage sale, State state) private {
        sale.state = state;
        sale.since = uint64(block.timestamp);
    }

    function _close(Sale storage sale, State state) private {
        _enter(sale, state);
        Listing storage listing = _listings[sale.listingId];
        --listing.openSales;
        listing.bondFreeFrom = uint64(block.timestamp) + BOND_GRACE;
    }

    function _refund(uint256 saleId, Sale storage sale, uint256 amount) private {
        address buyer = sale.buyer;
        emit Refunded(saleId, buyer, amount);
        vault.payOut(bytes32(saleId), buyer, amount);
    }

    function _fund(bytes32 pot, uint256 amount) private {
        if (address(vault) == address(0)) vault = IRevenue(directory.resolve(REVENUE));
        vault.fund(pot, msg.sender, amount);
    }

    // The pots of sales have the sale's number.
    function _listingPot(uint256 listingId) private pure returns (bytes32) {
        return bytes32(uint256(bytes32("listing")) | listingId);
    }

    function _knownListing(uint256 listingId) private view returns (Listing storage listing) {
        listing = _listings[listingId];
        if (listing.seller == address(0)) revert UnknownListing(listingId);
    }

    function _knownSale(uint256 saleId) private view returns (Sale storage sale) {
        sale = _sales[saleId];
        if (sale.state == State.NONE) revert UnknownSale(saleId);
    }

    function _in(uint256 saleId, State state) private view returns (Sale storage sale) {
        sale = _knownSale(saleId);
        if (sale.state != state) revert WrongSaleState(saleId, sale.state);
    }

    function _isBondFree(uint256 listingId, Listing storage listing) private view returns (bool) {
        if (listing.openSales > 0 || block.timestamp < listing.bondFreeFrom) return false;
        uint64[] storage copies = _salesOf[listingId];
        for (uint256 i = 0; i < copies.length; ++i) {
            if (_isPending(subjectOf(FILE_SALE_SUBJECT, copies[i]))) return false;
        }
        return true;
    }

    function _isPending(bytes32 subject) private view returns (bool) {
        return IDisputes(directory.resolve(DISPUTES)).pending(subject);
    }

    function _requireKey(uint256 saleId, Sale storage sale, bytes32 key) private view {
        if (sha256(abi.encodePacked(key)) != sale.keyDigest) revert WrongKey(saleId);
    }

    function _requireBefore(uint256 time) private view {
        if (block.timestamp >= time) revert TooLate(time);
    }

    function _requireAfter(uint256 time) private view {
        if (block.timestamp < time) revert TooEarly(time);
    }

    // The seller still holds the title, may sell, and nothing stands against either.
    function _requireSellable(uint256 titleId, address seller) private view {
        ITitles titles = ITitles(directory.resolve(MODEL_TITLES));
        if (titles.ownerOf(titleId) != seller) revert NotTitleHolder(seller, titleId);
        if (!titles.isClear(titleId)) revert TitleTagged(titleId);
        members.requireFree(subjectOf(TITLE_SUBJECT, titleId));
        _requireParty(seller, LICENSOR);
    }

    function _requireGrant(uint256 grantId) private view returns (IGrants grants) {
        grants = IGrants(directory.resolve(GRANTS));
        if (!grants.permitted(grantId, uint64(block.timestamp))) revert GrantNotInForce(grantId);
        members.requireFree(subjectOf(GRANT_SUBJECT, grantId));
    }

    // Neither the sale nor what it is about nor one of its parties is held.
    function _requireMoving(uint256 saleId, Sale storage sale) private view {
        Listing storage listing = _listings[sale.listingId];
        members.requireFree(subjectOf(FILE_SALE_SUBJECT, saleId));
        members.requireFree(subjectOf(TITLE_SUBJECT, listing.titleId));
        members.requireFree(subjectOf(GRANT_SUBJECT, sale.grantId));
        members.requireFree(accountSubject(listing.seller));
        members.requireFree(accountSubject(sale.buyer));
        members.requireFree(accountSubject(sale.service));
    }

    function _requireParty(address account, uint256 role) private view {
        members.requireFreeRole(account, role);
        if (directory.parameter(IDENTITY_REQUIRED) != 1) return;
        if (members.identityOf(account).validUntil <= block.timestamp) revert IdentityMissing(account);
    }
}
