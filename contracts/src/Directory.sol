// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {GOVERNOR, Members} from "./Members.sol";

bytes32 constant MODEL_TITLES = "ModelTitles";
bytes32 constant GRANTS = "Grants";
bytes32 constant SETTLEMENT_TOKEN = "SettlementToken";
bytes32 constant REVENUE = "Revenue";
bytes32 constant MARKET = "Market";
bytes32 constant FILE_SALES = "FileSales";
bytes32 constant DISPUTES = "Disputes";
// Parameters: what a value means stands beside its name.
bytes32 constant THRESHOLD = "governance.threshold"; // approvals that a proposal needs, 1 to 32
bytes32 constant DELAY = "governance.delay"; // seconds between proposal and activation, at least MIN_DELAY
bytes32 constant FEE_BPS = "market.fee"; // basis points of a price that go to the platform
bytes32 constant FEE_ACCOUNT = "market.fee.account"; // address that they are credited to
bytes32 constant IDENTITY_REQUIRED = "market.identity"; // 1 if sellers and buyers need a proof of identity in force
bytes32 constant CASE_BOND = "case.bond"; // what opening or appealing a case costs if it is lost

/// @title Which contracts and parameters are in force, and who may change them.
/// @notice A name stands for one word: the address of a contract or the value of a parameter. The founder sets the
///         first ones at once; from then on a change is proposed by a governor, approved by as many governors as the
///         threshold asks, and takes effect only after a delay that everybody can watch. Nothing is upgraded in
///         place: what a name stood for before stays where it is and stays readable.
contract Directory {
    struct Proposal {
        bytes32 name;
        uint256 value;
        uint64 activeFrom;
        bool closed;
        address[] approvals;
    }

    /// @notice Shortest delay that can be set.
    uint64 public constant MIN_DELAY = 1 days;
    /// @notice Time (seconds) in which a proposal can take effect once its delay is over.
    uint64 public constant PROPOSAL_LIFE = 30 days;
    /// @notice Largest number of approvals that can be asked for, and that a proposal collects.
    uint256 public constant MAX_THRESHOLD = 32;

    Members public immutable members;
    address public founder;
    uint256 public proposalsMade;

    mapping(bytes32 name => uint256) private _values;
    mapping(bytes32 name => uint32) public versionOf;
    mapping(uint256 proposalId => Proposal) private _proposals;

    event Proposed(uint256 indexed proposalId, bytes32 indexed name, uint256 value, uint64 activeFrom, address by);
    event Approved(uint256 indexed proposalId, address indexed by);
    event Withdrawn(uint256 indexed proposalId, address indexed by);
    event Activated(bytes32 indexed name, uint256 value, uint32 version, uint256 indexed proposalId);

    error AlreadyFounded();
    error InvalidValue(bytes32 name, uint256 value);
    error UnknownName(bytes32 name);
    error NotTheContract(bytes32 name, address account);
    error UnknownProposal(uint256 proposalId);
    error AlreadyApproved(uint256 proposalId, address account);
    error ProposalFull(uint256 proposalId);
    error ProposalLapsed(uint256 proposalId);
    error NotActiveYet(uint256 proposalId, uint64 activeFrom);
    error TooFewApprovals(uint256 proposalId, uint256 approvals, uint256 threshold);

    constructor(Members members_) {
        members = members_;
        founder = msg.sender;
    }

    /// @notice Set the first contracts and parameters, once. Caller: the founder.
    /// @param names What is set; "governance.threshold" and "governance.delay" are among them.
    /// @param values One word for each.
    function found(bytes32[] calldata names, uint256[] calldata values) external {
        if (founder == address(0) || msg.sender != founder) revert AlreadyFounded();
        founder = address(0);
        for (uint256 i = 0; i < names.length; ++i) {
            _set(names[i], values[i], 0);
        }
        if (_values[THRESHOLD] == 0) revert InvalidValue(THRESHOLD, 0);
        if (_values[DELAY] == 0) revert InvalidValue(DELAY, 0);
    }

    /// @notice Propose what a name shall stand for, and approve it. Caller: a GOVERNOR.
    /// @param name The contract or parameter.
    /// @param value Its new word.
    /// @return proposalId The proposal, counted from 1.
    function propose(bytes32 name, uint256 value) external returns (uint256 proposalId) {
        members.requireRole(msg.sender, GOVERNOR);
        if (founder != address(0)) revert UnknownName(DELAY);
        _check(name, value);
        proposalId = ++proposalsMade;
        Proposal storage proposal = _proposals[proposalId];
        proposal.name = name;
        proposal.value = value;
        proposal.activeFrom = uint64(block.timestamp + _values[DELAY]);
        emit Proposed(proposalId, name, value, proposal.activeFrom, msg.sender);
        _approve(proposalId, proposal);
    }

    /// @notice Approve a proposal. Caller: a GOVERNOR who has not yet.
    /// @param proposalId The proposal.
    function approve(uint256 proposalId) external {
        members.requireRole(msg.sender, GOVERNOR);
        _approve(proposalId, _open(proposalId));
    }

    /// @notice Give a proposal up. Caller: the GOVERNOR who made it.
    /// @param proposalId The proposal.
    function withdraw(uint256 proposalId) external {
        Proposal storage proposal = _open(proposalId);
        members.requireRole(msg.sender, GOVERNOR);
        if (proposal.approvals[0] != msg.sender) revert UnknownProposal(proposalId);
        proposal.closed = true;
        emit Withdrawn(proposalId, msg.sender);
    }

    /// @notice Put a proposal into force: its delay is over, PROPOSAL_LIFE after it is not, and enough governors in force
    ///         approved it. Anyone may.
    /// @param proposalId The proposal.
    function activate(uint256 proposalId) external {
        Proposal storage proposal = _open(proposalId);
        if (block.timestamp < proposal.activeFrom) revert NotActiveYet(proposalId, proposal.activeFrom);
        if (block.timestamp >= proposal.activeFrom + PROPOSAL_LIFE) revert ProposalLapsed(proposalId);
        uint256 count = 0;
        for (uint256 i = 0; i < proposal.approvals.length; ++i) {
            if (members.hasRole(proposal.approvals[i], GOVERNOR)) ++count;
        }
        if (count < _values[THRESHOLD]) revert TooFewApprovals(proposalId, count, _values[THRESHOLD]);
        proposal.closed = true;
        _set(proposal.name, proposal.value, proposalId);
    }

    /// @notice The contract that a name stands for.
    /// @param name The name.
    /// @return Its address.
    function resolve(bytes32 name) public view returns (address) {
        uint256 value = _values[name];
        if (value == 0 || value > type(uint160).max) revert UnknownName(name);
        return address(uint160(value));
    }

    /// @notice The value of a parameter; 0 if it was never set.
    /// @param name The name.
    /// @return Its word.
    function parameter(bytes32 name) external view returns (uint256) {
        return _values[name];
    }

    /// @notice Revert unless an account is the contract that a name stands for.
    /// @param name The name.
    /// @param account The address to check.
    function requireContract(bytes32 name, address account) external view {
        if (resolve(name) != account) revert NotTheContract(name, account);
    }

    /// @notice A proposal as it stands.
    /// @param proposalId The proposal.
    /// @return The proposal.
    function proposalRecord(uint256 proposalId) external view returns (Proposal memory) {
        if (_proposals[proposalId].activeFrom == 0) revert UnknownProposal(proposalId);
        return _proposals[proposalId];
    }

    function _approve(uint256 proposalId, Proposal storage proposal) private {
        uint256 count = proposal.approvals.length;
        if (count == MAX_THRESHOLD) revert ProposalFull(proposalId);
        for (uint256 i = 0; i < count; ++i) {
            if (proposal.approvals[i] == msg.sender) revert AlreadyApproved(proposalId, msg.sender);
        }
        proposal.approvals.push(msg.sender);
        emit Approved(proposalId, msg.sender);
    }

    function _set(bytes32 name, uint256 value, uint256 proposalId) private {
        _check(name, value);
        _values[name] = value;
        emit Activated(name, value, ++versionOf[name], proposalId);
    }

    function _check(bytes32 name, uint256 value) private pure {
        if (name == 0) revert InvalidValue(name, value);
        if (name == THRESHOLD && (value == 0 || value > MAX_THRESHOLD)) revert InvalidValue(name, value);
        if (name == DELAY && (value < MIN_DELAY || value > 365 days)) revert InvalidValue(name, value);
        if (name == FEE_BPS && value > 1_000) revert InvalidValue(name, value);
    }

    function _open(uint256 proposalId) private view returns (Proposal storage proposal) {
        proposal = _proposals[proposalId];
        if (proposal.activeFrom == 0 || proposal.closed) revert UnknownProposal(proposalId);
    }
}
