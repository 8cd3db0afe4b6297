// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {IERC165} from "@openzeppelin/contracts/interfaces/IERC165.sol";
import {IERC2981} from "@openzeppelin/contracts/interfaces/IERC2981.sol";
import {IERC4906} from "@openzeppelin/contracts/interfaces/IERC4906.sol";
import {IERC721} from "@openzeppelin/contracts/interfaces/IERC721.sol";
import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {DISPUTES, Directory, MARKET, REVENUE} from "./Directory.sol";
import {LICENSOR, Members, REGISTRAR, TITLE_SUBJECT, subjectOf} from "./Members.sol";
import {ITitles, Share, WHOLE} from "./Ports.sol";

/// @title Title to a model: one ERC-721 token per set of weights.
/// @notice Weights are named by the Merkle root over their tensors, and have one title for good. A model derived from
///         registered ones names them as its parents: at registration each ancestor's share of its revenue is fixed
///         for good, and the sum of the shares is capped. Only members with the role LICENSOR can hold titles; a title
///         changes hands by deed or by a sale on the market, so the transfers of ERC-721 all revert. A regulator's
///         hold stops both. A title tagged by a ruling keeps its holder, but neither it nor a model derived from it is
///         sold or licensed while the tag stands. Commitments to detection keys stand here before the first delivery.
contract ModelTitles is ITitles, IERC2981, IERC4906, ERC721 {
    struct Title {
        bytes32 manifestDigest;
        bytes32 weightsRoot;
        bytes32 keyCommitment;
        uint64 epoch;
        uint64 registeredAt;
        uint16 derivativeBps;
        bool derivativesOpen;
        bool tagged;
    }

    struct Permission {
        address holder;
        uint16 bps;
    }

    /// @notice Largest sum of the shares of a title's ancestors, in basis points.
    uint256 public constant MAX_STACK_BPS = 5_000;
    /// @notice Largest number of ancestors of a title.
    uint256 public constant MAX_ANCESTORS = 8;

    Directory public immutable directory;
    Members public immutable members;
    uint256 public titlesIssued;

    mapping(uint256 titleId => Title) private _titles;
    mapping(uint256 titleId => Share[]) private _stacks;
    mapping(bytes32 weightsRoot => uint256 titleId) private _byWeights;
    // It counts as long as the holder that gave it holds the title.
    mapping(uint256 titleId => mapping(bytes32 weightsRoot => Permission)) private _permissions;
    /// @notice The sale that a title is locked for; 0 if there is none.
    mapping(uint256 titleId => uint256 saleId) public lockOf;
    /// @notice The market that can sell a title: the one of the day of its registration, until its holder accepts
    ///         another. Whoever governs the Directory can name a new market, and cannot have it move anybody's title.
    mapping(uint256 titleId => address market) public marketOf;
    // Which market locked a title: that one alone ends the lock, also after the Directory has named another.
    mapping(uint256 titleId => address market) private _lockedBy;

    event TitleRegistered(
        uint256 indexed titleId,
        address indexed holder,
        bytes32 indexed weightsRoot,
        bytes32 manifestDigest,
        bytes32 keyCommitment
    );
    event KeyCommitted(uint256 indexed titleId, uint64 epoch, bytes32 keyCommitment);
    event Derived(uint256 indexed titleId, uint256 indexed parentId, uint16 bps);
    event DerivativeTermsSet(uint256 indexed titleId, bool open, uint16 bps);
    event DerivativeApproved(uint256 indexed titleId, bytes32 indexed weightsRoot, uint16 bps);
    event TitleAssigned(uint256 indexed titleId, address indexed from, address indexed to, bytes32 deedDigest);
    event StatusChanged(uint256 indexed titleId, bool tagged, uint256 indexed caseId);
    event Locked(uint256 indexed titleId, uint256 indexed saleId);
    event Unlocked(uint256 indexed titleId);
    event MarketAccepted(uint256 indexed titleId, address indexed market);

    error AlreadyRegistered(uint256 titleId);
    error UnknownTitle(uint256 titleId);
    error EmptyDigest();
    error NotTitleHolder(address account, uint256 titleId);
    error DerivativeNotAllowed(uint256 titleId);
    error TooManyAncestors();
    error RoyaltyTooHigh(uint256 bps);
    error TitleTagged(uint256 titleId);
    error TitleLocked(uint256 titleId, uint256 saleId);
    error TitleNotLocked(uint256 titleId);
    error DeedRequired(uint256 titleId);
    error MarketNotAccepted(uint256 titleId, address market);

    constructor(Directory directory_) ERC721("Countermark Model Title", "CMT") {
        directory = directory_;
        members = directory_.members();
    }

    /// @notice Register a model and mint its title. Caller: a REGISTRAR.
    /// @param to The holder, a member with the role LICENSOR.
    /// @param manifestDigest Digest of the signed manifest.
    /// @param weightsRoot Merkle root over the weights; never registered before.
    /// @param keyCommitment Commitment to the detection keys of epoch 0.
    /// @param parents Titles of the models that this one is derived from, and the share of each in its revenue. Each
    ///        has the same holder, is open to derivatives at that share, or approved these weights at that share.
    /// @param derivativeBps Share that a model derived from this one owes it.
    /// @param derivativesOpen Whether anybody may derive at that share, without approval.
    /// @return titleId The new token, counted from 1.
    function register(
        address to,
        bytes32 manifestDigest,
        bytes32 weightsRoot,
        bytes32 keyCommitment,
        Share[] calldata parents,
        uint16 derivativeBps,
        bool derivativesOpen
    ) external returns (uint256 titleId) {
        members.requireRole(msg.sender, REGISTRAR);
        if (manifestDigest == 0 || weightsRoot == 0 || keyCommitment == 0) revert EmptyDigest();
        if (_byWeights[weightsRoot] != 0) revert AlreadyRegistered(_byWeights[weightsRoot]);
        titleId = titlesIssued + 1;
        _inherit(titleId, to, weightsRoot, parents);
        titlesIssued = titleId;
        _byWeights[weightsRoot] = titleId;
        _titles[titleId] =
            Title(manifestDigest, weightsRoot, keyCommitment, 0, uint64(block.timestamp), 0, false, false);
        marketOf[titleId] = address(uint160(directory.parameter(MARKET)));
        _mint(to, titleId);
        emit TitleRegistered(titleId, to, weightsRoot, manifestDigest, keyCommitment);
        emit KeyCommitted(titleId, 0, keyCommitment);
        _setDerivativeTerms(titleId, derivativesOpen, derivativeBps);
    }

    /// @notice Open the next epoch of detection keys. Caller: a REGISTRAR.
    /// @param titleId The title whose model the keys are for.
    /// @param keyCommitment Commitment to the new keys.
    /// @return epoch The new epoch; earlier commitments stay in the event log.
    function commitKey(uint256 titleId, bytes32 keyCommitment) external returns (uint64 epoch) {
        members.requireRole(msg.sender, REGISTRAR);
        if (keyCommitment == 0) revert EmptyDigest();
        Title storage title = _known(titleId);
        epoch = ++title.epoch;
        title.keyCommitment = keyCommitment;
        emit KeyCommitted(titleId, epoch, keyCommitment);
        emit MetadataUpdate(titleId);
    }

    /// @notice Say what models derived from this one owe it. Those registered already keep their shares. Caller: the
    ///         title holder.
    /// @param titleId The title.
    /// @param open Whether anybody may derive, without approval.
    /// @param bps Share that each derived model owes.
    function setDerivativeTerms(uint256 titleId, bool open, uint16 bps) external {
        _requireHolder(titleId);
        _setDerivativeTerms(titleId, open, bps);
    }

    /// @notice Approve that one set of weights is registered as derived from this title. Caller: the title holder; the
    ///         approval ends when the title changes hands.
    /// @param titleId The title.
    /// @param weightsRoot Merkle root over the derived model's weights.
    /// @param bps Least share that it owes.
    function approveDerivative(uint256 titleId, bytes32 weightsRoot, uint16 bps) external {
        _requireHolder(titleId);
        if (weightsRoot == 0) revert EmptyDigest();
        if (bps > MAX_STACK_BPS) revert RoyaltyTooHigh(bps);
        _permissions[titleId][weightsRoot] = Permission(msg.sender, bps);
        emit DerivativeApproved(titleId, weightsRoot, bps);
    }

    /// @notice Let the market that the Directory names now sell this title. Caller: the title holder.
    /// @param titleId The title.
    function acceptMarket(uint256 titleId) external {
        _requireHolder(titleId);
        address market = directory.resolve(MARKET);
        marketOf[titleId] = market;
        emit MarketAccepted(titleId, market);
    }

    /// @notice Pass a title on by deed; approvals for it end. Caller: its holder, or whom the holder approved.
    /// @param titleId The title; neither held nor locked for a sale.
    /// @param to The new holder, a member with the role LICENSOR; neither side's account is held.
    /// @param deedDigest Salted digest of the deed.
    function transferByDeed(uint256 titleId, address to, bytes32 deedDigest) external {
        _known(titleId);
        _checkAuthorized(_ownerOf(titleId), msg.sender, titleId);
        if (lockOf[titleId] != 0) revert TitleLocked(titleId, lockOf[titleId]);
        _assign(titleId, to, deedDigest);
    }

    /// @inheritdoc ITitles
    /// @param titleId The title; neither held, locked nor tagged.
    /// @param saleId The sale.
    function lockForSale(uint256 titleId, uint256 saleId) external {
        directory.requireContract(MARKET, msg.sender);
        _known(titleId);
        if (marketOf[titleId] != msg.sender) revert MarketNotAccepted(titleId, msg.sender);
        members.requireFree(subjectOf(TITLE_SUBJECT, titleId));
        _requireClear(titleId);
        if (lockOf[titleId] != 0) revert TitleLocked(titleId, lockOf[titleId]);
        lockOf[titleId] = saleId;
        _lockedBy[titleId] = msg.sender;
        emit Locked(titleId, saleId);
    }

    /// @inheritdoc ITitles
    /// @param titleId The title.
    function unlock(uint256 titleId) external {
        _unlock(titleId);
    }

    /// @inheritdoc ITitles
    /// @param titleId The title; neither held nor tagged.
    /// @param to The new holder, a member with the role LICENSOR; neither side's account is held.
    /// @param deedDigest Salted digest of the deed.
    function assignBySale(uint256 titleId, address to, bytes32 deedDigest) external {
        _unlock(titleId);
        _requireClear(titleId);
        _assign(titleId, to, deedDigest);
    }

    /// @inheritdoc ITitles
    /// @param titleId The title.
    /// @param tagged Whether it is tagged from now on.
    /// @param caseId The case that was ruled on.
    function setTag(uint256 titleId, bool tagged, uint256 caseId) external {
        directory.requireContract(DISPUTES, msg.sender);
        Title storage title = _known(titleId);
        if (title.tagged == tagged) return;
        title.tagged = tagged;
        emit StatusChanged(titleId, tagged, caseId);
        emit MetadataUpdate(titleId);
    }

    /// @notice The holder of a title.
    /// @param tokenId The token; reverts if there is none.
    /// @return Its holder.
    function ownerOf(uint256 tokenId) public view override(ERC721, IERC721, ITitles) returns (address) {
        return ERC721.ownerOf(tokenId);
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
        return _known(titleId);
    }

    /// @inheritdoc ITitles
    /// @param titleId The title.
    function royaltyStack(uint256 titleId) external view returns (Share[] memory) {
        _known(titleId);
        return _stacks[titleId];
    }

    /// @inheritdoc ITitles
    /// @param titleId The title.
    function isClear(uint256 titleId) external view returns (bool) {
        _known(titleId);
        return _tagOn(titleId) == 0;
    }

    /// @notice The share of the title's revenue that belongs to its ancestors (ERC-2981).
    /// @param tokenId The title.
    /// @param salePrice Any amount.
    /// @return receiver The vault that shares it out.
    /// @return royaltyAmount What of the amount belongs to the ancestors.
    function royaltyInfo(uint256 tokenId, uint256 salePrice)
        external
        view
        returns (address receiver, uint256 royaltyAmount)
    {
        _known(tokenId);
        return (directory.resolve(REVENUE), Math.mulDiv(salePrice, _sumOf(_stacks[tokenId]), WHOLE));
    }

    /// @notice Which interfaces stand here: ERC-165, ERC-721 with its metadata, ERC-2981 and ERC-4906.
    /// @param interfaceId As ERC-165 counts it.
    /// @return Whether it does.
    function supportsInterface(bytes4 interfaceId) public view override(ERC721, IERC165) returns (bool) {
        return interfaceId == type(IERC2981).interfaceId || interfaceId == 0x49064906 // ERC-4906 has events alone
            || super.supportsInterface(interfaceId);
    }

    // `auth` is set where ERC-721's own transfers come in; all of them are refused.
    // Both sides are members in force: a suspended holder keeps its titles, but cannot move them out of reach.
    function _update(address to, uint256 tokenId, address auth) internal override returns (address from) {
        if (auth != address(0)) revert DeedRequired(tokenId);
        from = super._update(to, tokenId, auth);
        members.requireRole(to, LICENSOR);
        if (from != address(0)) members.requireRole(from, LICENSOR);
    }

    function _assign(uint256 titleId, address to, bytes32 deedDigest) private {
        if (deedDigest == 0) revert EmptyDigest();
        address from = ownerOf(titleId);
        members.requireFree(subjectOf(TITLE_SUBJECT, titleId));
        members.requireFreeRole(from, LICENSOR);
        members.requireFreeRole(to, LICENSOR);
        _update(to, titleId, address(0));
        emit TitleAssigned(titleId, from, to, deedDigest);
    }

    function _unlock(uint256 titleId) private {
        if (_lockedBy[titleId] != msg.sender) {
            if (lockOf[titleId] == 0 && marketOf[titleId] == msg.sender) revert TitleNotLocked(titleId);
            revert Directory.NotTheContract(MARKET, msg.sender);
        }
        delete lockOf[titleId];
        delete _lockedBy[titleId];
        emit Unlocked(titleId);
    }

    // A parent's own stack is part of the child's: shares are of the child's revenue, not of the parent's part of it.
    function _inherit(uint256 titleId, address to, bytes32 weightsRoot, Share[] calldata parents) private {
        if (parents.length > MAX_ANCESTORS) revert TooManyAncestors();
        Share[] storage stack = _stacks[titleId];
        for (uint256 i = 0; i < parents.length; ++i) {
            Share calldata parent = parents[i];
            _requireDerivable(parent, to, weightsRoot);
            _include(stack, parent);
            Share[] storage above = _stacks[parent.titleId];
            for (uint256 j = 0; j < above.length; ++j) {
                _include(stack, above[j]);
            }
            emit Derived(titleId, parent.titleId, parent.bps);
        }
        uint256 sum = _sumOf(stack);
        if (sum > MAX_STACK_BPS) revert RoyaltyTooHigh(sum);
    }

    // An ancestor that is reached on several ways counts once, with the largest of its shares.
    function _include(Share[] storage stack, Share memory share) private {
        for (uint256 i = 0; i < stack.length; ++i) {
            if (stack[i].titleId == share.titleId) {
                if (stack[i].bps < share.bps) stack[i].bps = share.bps;
                return;
            }
        }
        if (stack.length == MAX_ANCESTORS) revert TooManyAncestors();
        stack.push(share);
    }

    function _setDerivativeTerms(uint256 titleId, bool open, uint16 bps) private {
        if (bps > MAX_STACK_BPS) revert RoyaltyTooHigh(bps);
        Title storage title = _titles[titleId];
        title.derivativeBps = bps;
        title.derivativesOpen = open;
        emit DerivativeTermsSet(titleId, open, bps);
    }

    function _requireDerivable(Share calldata parent, address to, bytes32 weightsRoot) private view {
        Title storage title = _known(parent.titleId);
        _requireClear(parent.titleId);
        address holder = _ownerOf(parent.titleId);
        if (holder == to) return;
        if (title.derivativesOpen && parent.bps >= title.derivativeBps) return;
        Permission storage approval = _permissions[parent.titleId][weightsRoot];
        if (approval.holder == holder && parent.bps >= approval.bps) return;
        revert DerivativeNotAllowed(parent.titleId);
    }

    function _requireHolder(uint256 titleId) private view {
        _known(titleId);
        if (_ownerOf(titleId) != msg.sender) revert NotTitleHolder(msg.sender, titleId);
        members.requireRole(msg.sender, LICENSOR);
    }

    function _requireClear(uint256 titleId) private view {
        uint256 tagged = _tagOn(titleId);
        if (tagged != 0) revert TitleTagged(tagged);
    }

    function _tagOn(uint256 titleId) private view returns (uint256) {
        if (_titles[titleId].tagged) return titleId;
        Share[] storage stack = _stacks[titleId];
        for (uint256 i = 0; i < stack.length; ++i) {
            if (_titles[stack[i].titleId].tagged) return stack[i].titleId;
        }
        return 0;
    }

    function _sumOf(Share[] storage stack) private view returns (uint256 sum) {
        for (uint256 i = 0; i < stack.length; ++i) {
            sum += stack[i].bps;
        }
    }

    function _known(uint256 titleId) private view returns (Title storage) {
        if (_ownerOf(titleId) == address(0)) revert UnknownTitle(titleId);
        return _titles[titleId];
    }
}
