// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {CASE_BOND, DISPUTES, FILE_SALES, GRANTS, MARKET, MODEL_TITLES, REVENUE, Directory} from "./Directory.sol";
import {
    ACCOUNT_SUBJECT,
    ARBITER,
    FILE_SALE_SUBJECT,
    GRANT_SUBJECT,
    SALE_SUBJECT,
    TITLE_SUBJECT,
    Members,
    accountSubject
} from "./Members.sol";
import {IDisputes, IGrants, IRevenue, ISales, ISlashable, ITitles, MAX_AMOUNT} from "./Ports.sol";
import {Statements} from "./Statements.sol";

// What a ruling can do, as bits.
uint8 constant TAG = 1 << 0; // the title and what derives from it: its money is withheld from then on
uint8 constant UNTAG = 1 << 1; // take back the tag that the respondent won
uint8 constant REVOKE = 1 << 2; // the grant ends
uint8 constant FORFEIT = 1 << 3; // what is withheld for the title goes to the claimant
uint8 constant SLASH = 1 << 4; // the bond behind the grant or the file sale goes to the claimant

/// @title Cases: a claim, an answer, what experts sign, a ruling, an appeal, and what the ruling brings about.
/// @notice Who can bring what: any member a title, against its holder; its holder a tagged title, against one who won
///         the tag; title holder and licensee a grant, against each other; seller, buyer and marking service a sale,
///         against each other; any member an account. Only digests stand here; what they are digests of, the parties
///         show the arbiter. A hold stops none of it: a held account opens and appeals without a bond, for its money
///         does not move.
///
///         A case costs a bond, and an appeal another one. Whoever wins in the end gets all of it, so nobody is worse
///         off for having been right. No party can let a case hang: without an answer the arbiter goes on, without a
///         ruling the case lapses, without a ruling on appeal the first one stands, and execution is open to anyone.
contract Disputes is IDisputes, Statements, ReentrancyGuardTransient {
    enum State {
        NONE,
        OPEN, // waits for an answer, then for a ruling
        RULED, // waits for an appeal
        APPEALED, // waits for a second ruling
        FINAL, // waits for its execution
        EXECUTED,
        WITHDRAWN,
        LAPSED
    }

    enum Kind {
        NONE,
        OWNERSHIP, // the title belongs to somebody else, or lacks a parent
        BREACH, // an act outside the terms
        LEAK, // marked outputs where they should not be
        DELIVERY, // what was paid for did not come, or was not what was promised
        QUALITY, // the right bytes, but no good
        PAYMENT, // revenue not reported or not paid
        OTHER
    }

    /// @dev `since` is the time of the step that led to the state. `upheld`, `remedies` and `rulingDigest` are those of
    ///      the newest ruling, `arbiter` who made the first one.
    struct Case {
        bytes32 subject;
        address claimant;
        uint64 bond;
        State state;
        Kind kind;
        bool upheld;
        uint8 remedies;
        address respondent;
        uint64 since;
        uint8 fitting;
        address arbiter;
        uint64 appealBond;
        address appellant;
        bytes32 evidenceDigest;
        bytes32 responseDigest;
        bytes32 rulingDigest;
    }

    /// @notice How long a ruling waits for an answer.
    uint64 public constant RESPONSE_WINDOW = 7 days;
    /// @notice How long a case, and an appeal, waits for its ruling.
    uint64 public constant RULING_WINDOW = 60 days;
    /// @notice How long a ruling can be appealed.
    uint64 public constant APPEAL_WINDOW = 14 days;

    Directory public immutable directory;
    /// @notice Where the bonds are: the vault that the Directory named at the first payment. Another vault comes with
    ///         another contract for cases, so that no case loses its pot.
    IRevenue public vault;
    uint256 public casesOpened;

    mapping(uint256 caseId => Case) private _cases;
    mapping(bytes32 subject => uint256) private _undecided;
    // A title stays tagged until everyone who won a tag on it has lost or lifted it.
    mapping(uint256 titleId => uint256) private _tags;
    mapping(uint256 titleId => mapping(address claimant => bool)) private _tagger;
    // The one case that may stay notices of a grant: a licensee who lost it or let it drop cannot stay another one.
    mapping(uint256 grantId => uint256 caseId) private _stayedBy;

    event CaseOpened(
        uint256 indexed caseId,
        bytes32 indexed subject,
        address indexed claimant,
        address respondent,
        uint8 kind,
        bytes32 evidenceDigest,
        uint64 bond
    );
    event Responded(uint256 indexed caseId, address indexed respondent, bytes32 responseDigest);
    event Ruled(
        uint256 indexed caseId, bool upheld, uint8 remedies, bytes32 rulingDigest, address indexed arbiter
    );
    event Appealed(uint256 indexed caseId, address indexed appellant, bytes32 groundsDigest, uint64 bond);
    event Executed(uint256 indexed caseId, uint8 remedies, uint256 amount);
    event CaseWithdrawn(uint256 indexed caseId);
    event CaseLapsed(uint256 indexed caseId, State state);
    event TagLifted(uint256 indexed titleId, address indexed by, bytes32 reasonDigest);

    error AmountOutOfRange(uint256 amount);
    error UnknownKind(uint8 kind);
    error UnknownSubject(bytes32 subject);
    error NotConcerned(bytes32 subject, address claimant, address respondent);
    error UnknownCase(uint256 caseId);
    error WrongState(uint256 caseId, State caseState);
    error NotAParty(uint256 caseId, address account);
    error IsAParty(uint256 caseId, address account);
    error AlreadyResponded(uint256 caseId);
    error SameArbiter(uint256 caseId, address account);
    error UnfitRemedies(uint8 remedies, uint8 fitting);
    error TooEarly(uint256 time);
    error TooLate(uint256 time);
    error NoNotice(uint256 grantId);
    error NoTagToLift(uint256 titleId, address account);

    constructor(Directory directory_) Statements(directory_.members()) {
        directory = directory_;
    }

    /// @notice Open a case. Caller: a member in force whom the subject concerns; its bond goes into the case's pot.
    ///         A licensee's case about its own grant stays a notice that runs against it.
    /// @param subject What the case is about, as `subjectOf` and `accountSubject` write it.
    /// @param respondent Against whom.
    /// @param evidenceDigest Salted digest of the evidence.
    /// @param kind What is claimed: a `Kind`.
    /// @return caseId The case, counted from 1.
    function open(bytes32 subject, address respondent, bytes32 evidenceDigest, uint8 kind)
        external
        nonReentrant
        returns (uint256 caseId)
    {
        members.requireRole(msg.sender, 0);
        if (kind == 0 || kind > uint8(type(Kind).max)) revert UnknownKind(kind);
        if (evidenceDigest == 0) revert EmptyDigest();
        caseId = ++casesOpened;
        Case storage opened = _cases[caseId];
        opened.fitting = _fitting(subject, msg.sender, respondent);
        opened.subject = subject;
        opened.claimant = msg.sender;
        opened.respondent = respondent;
        opened.kind = Kind(kind);
        opened.evidenceDigest = evidenceDigest;
        opened.bond = _bond();
        _enter(opened, State.OPEN);
        ++_undecided[subject];
        emit CaseOpened(caseId, subject, msg.sender, respondent, kind, evidenceDigest, opened.bond);
        _fund(caseId, opened.bond);
        _stay(caseId, opened);
    }

    /// @notice Answer a case. Caller: the respondent, once, until there is a ruling.
    /// @param caseId The case.
    /// @param responseDigest Salted digest of the answer and its evidence.
    function respond(uint256 caseId, bytes32 responseDigest) external {
        Case storage answered = _in(caseId, State.OPEN);
        if (msg.sender != answered.respondent) revert NotAParty(caseId, msg.sender);
        if (responseDigest == 0) revert EmptyDigest();
        if (answered.responseDigest != 0) revert AlreadyResponded(caseId);
        answered.responseDigest = responseDigest;
        emit Responded(caseId, msg.sender, responseDigest);
    }

    /// @notice Stay a notice that was given while the case was open. Caller: the licensee whose case it is.
    /// @param caseId The case.
    function stay(uint256 caseId) external nonReentrant {
        Case storage running = _undecidedCase(caseId);
        if (msg.sender != running.claimant) revert NotAParty(caseId, msg.sender);
        if (!_stay(caseId, running)) revert NoNotice(_number(running.subject));
    }

    /// @notice Rule on a case that was answered, or that nobody answered in RESPONSE_WINDOW.
    ///         Caller: an ARBITER who is no party.
    /// @param caseId The case.
    /// @param upheld Whether the claimant is right.
    /// @param remedies What follows: bits of TAG, UNTAG, REVOKE, FORFEIT and SLASH that fit the subject; 0 for nothing.
    /// @param rulingDigest Digest of the ruling with its reasons.
    function rule(uint256 caseId, bool upheld, uint8 remedies, bytes32 rulingDigest) external {
        Case storage judged = _in(caseId, State.OPEN);
        if (judged.responseDigest == 0) _requireAfter(judged.since + RESPONSE_WINDOW);
        _rule(caseId, judged, upheld, remedies, rulingDigest);
        judged.arbiter = msg.sender;
        _enter(judged, State.RULED);
    }

    /// @notice Appeal a ruling, once, within APPEAL_WINDOW. Caller: a party; its bond goes into the case's pot.
    /// @param caseId The case.
    /// @param groundsDigest Salted digest of the grounds.
    function appeal(uint256 caseId, bytes32 groundsDigest) external nonReentrant {
        Case storage contested = _in(caseId, State.RULED);
        if (msg.sender != contested.claimant && msg.sender != contested.respondent) {
            revert NotAParty(caseId, msg.sender);
        }
        if (groundsDigest == 0) revert EmptyDigest();
        _requireBefore(contested.since + APPEAL_WINDOW);
        contested.appellant = msg.sender;
        contested.appealBond = _bond();
        _enter(contested, State.APPEALED);
        emit Appealed(caseId, msg.sender, groundsDigest, contested.appealBond);
        _fund(caseId, contested.appealBond);
    }

    /// @notice Rule on an appeal: this ruling replaces the first one, for good.
    ///         Caller: another ARBITER than the first, and no party.
    /// @param caseId The case.
    /// @param upheld Whether the claimant, who need not be the appellant, is right.
    /// @param remedies As in `rule`.
    /// @param rulingDigest Digest of the ruling with its reasons.
    function ruleAppeal(uint256 caseId, bool upheld, uint8 remedies, bytes32 rulingDigest) external {
        Case storage judged = _in(caseId, State.APPEALED);
        if (msg.sender == judged.arbiter) revert SameArbiter(caseId, msg.sender);
        _rule(caseId, judged, upheld, remedies, rulingDigest);
        _enter(judged, State.FINAL);
    }

    /// @notice Bring about what was ruled, once it can no longer be appealed. Anyone may.
    ///         All bonds of the case go to the party that won, also after the Directory has named a successor of this
    ///         contract, which alone brings rulings about from then on.
    /// @param caseId The case.
    function execute(uint256 caseId) external nonReentrant {
        Case storage done = _undecidedCase(caseId);
        if (done.state == State.RULED) _requireAfter(done.since + APPEAL_WINDOW);
        else if (done.state != State.FINAL) revert WrongState(caseId, done.state);
        _close(done, State.EXECUTED);
        if (done.upheld && _stayedBy[_number(done.subject)] == caseId) delete _stayedBy[_number(done.subject)];
        uint8 remedies = directory.resolve(DISPUTES) == address(this) ? done.remedies : 0;
        uint256 amount = _bringAbout(caseId, done, remedies);
        emit Executed(caseId, remedies, amount);
        _payOut(caseId, done.upheld ? done.claimant : done.respondent, done.bond + done.appealBond);
    }

    /// @notice Give a case up before its ruling. Caller: the claimant. Its bond comes back, unless the respondent
    ///         answered already, or the case stayed its notice: then the respondent gets it.
    /// @param caseId The case.
    function withdraw(uint256 caseId) external nonReentrant {
        Case storage dropped = _in(caseId, State.OPEN);
        if (msg.sender != dropped.claimant) revert NotAParty(caseId, msg.sender);
        _close(dropped, State.WITHDRAWN);
        emit CaseWithdrawn(caseId);
        bool harmless = dropped.responseDigest == 0 && _stayedBy[_number(dropped.subject)] != caseId;
        _payOut(caseId, harmless ? msg.sender : dropped.respondent, dropped.bond);
    }

    /// @notice End the wait for a ruling that did not come in RULING_WINDOW. Anyone may. A case ends, an appeal leaves
    ///         the first ruling as it was; the bond of what was not heard comes back to who paid it.
    /// @param caseId The case.
    function lapse(uint256 caseId) external nonReentrant {
        Case storage unheard = _undecidedCase(caseId);
        bool appealed = unheard.state == State.APPEALED;
        if (!appealed && unheard.state != State.OPEN) revert WrongState(caseId, unheard.state);
        _requireAfter(unheard.since + RULING_WINDOW);
        uint64 returned = appealed ? unheard.appealBond : unheard.bond;
        if (appealed) {
            unheard.appealBond = 0;
            _enter(unheard, State.FINAL);
        } else {
            _close(unheard, State.LAPSED);
        }
        emit CaseLapsed(caseId, unheard.state);
        _payOut(caseId, appealed ? unheard.appellant : unheard.claimant, returned);
    }

    /// @notice Lift the tag that the caller won on a title, for instance after a settlement. The title is clear when
    ///         nobody's tag is left on it.
    /// @param titleId The title.
    /// @param reasonDigest Salted digest of the reason.
    function liftTag(uint256 titleId, bytes32 reasonDigest) external nonReentrant {
        if (reasonDigest == 0) revert EmptyDigest();
        if (!_tagger[titleId][msg.sender]) revert NoTagToLift(titleId, msg.sender);
        emit TagLifted(titleId, msg.sender, reasonDigest);
        _untag(titleId, msg.sender, 0);
    }

    /// @inheritdoc IDisputes
    /// @param subject What to look up.
    function pending(bytes32 subject) external view returns (bool) {
        return _undecided[subject] > 0;
    }

    /// @notice A case as it stands.
    /// @param caseId The case.
    /// @return The case.
    function caseRecord(uint256 caseId) external view returns (Case memory) {
        return _known(caseId);
    }

    // Which remedies a claimant can win against a respondent; reverts if the subject does not concern the two.
    function _fitting(bytes32 subject, address claimant, address respondent) private view returns (uint8 remedies) {
        uint256 kind = uint256(subject) - _number(subject);
        bool concerned = false;
        if (kind == TITLE_SUBJECT) (concerned, remedies) = _aboutTitle(_number(subject), claimant, respondent);
        else if (kind == GRANT_SUBJECT) (concerned, remedies) = _aboutGrant(_number(subject), claimant, respondent);
        else if (kind == SALE_SUBJECT) (concerned,) = _aboutSale(MARKET, _number(subject), claimant, respondent);
        else if (kind == FILE_SALE_SUBJECT) {
            (concerned, remedies) = _aboutSale(FILE_SALES, _number(subject), claimant, respondent);
        } else if (kind == ACCOUNT_SUBJECT) concerned = _aboutAccount(subject, respondent);
        else revert UnknownSubject(subject);
        if (!concerned || claimant == respondent) revert NotConcerned(subject, claimant, respondent);
    }

    function _aboutTitle(uint256 titleId, address claimant, address respondent)
        private
        view
        returns (bool concerned, uint8 remedies)
    {
        address holder = _titles().ownerOf(titleId);
        if (respondent == holder) return (true, TAG | FORFEIT);
        return (claimant == holder && _tagger[titleId][respondent], UNTAG);
    }

    function _aboutGrant(uint256 grantId, address claimant, address respondent)
        private
        view
        returns (bool concerned, uint8 remedies)
    {
        (, uint256 titleId,,) = _grants().windowOf(grantId);
        (address licensee, address holder) = (_grants().ownerOf(grantId), _titles().ownerOf(titleId));
        if (claimant == holder && respondent == licensee) return (true, REVOKE | SLASH);
        return (claimant == licensee && respondent == holder, 0);
    }

    function _aboutSale(bytes32 market, uint256 saleId, address claimant, address respondent)
        private
        view
        returns (bool concerned, uint8 remedies)
    {
        (address seller, address buyer, address service) = ISales(directory.resolve(market)).partiesOf(saleId);
        concerned = (claimant == seller || claimant == buyer || claimant == service) && respondent != address(0)
            && (respondent == seller || respondent == buyer || respondent == service);
        remedies = respondent == seller ? SLASH : 0;
    }

    function _aboutAccount(bytes32 subject, address respondent) private view returns (bool) {
        bool known = members.memberOf(respondent).roles != 0;
        if (subject == accountSubject(respondent) && !known) revert UnknownSubject(subject);
        return subject == accountSubject(respondent);
    }

    function _rule(uint256 caseId, Case storage judged, bool upheld, uint8 remedies, bytes32 rulingDigest) private {
        members.requireRole(msg.sender, ARBITER);
        _refuseParty(caseId, judged, msg.sender);
        _requireBefore(judged.since + RULING_WINDOW);
        if (rulingDigest == 0) revert EmptyDigest();
        uint8 fitting = upheld ? judged.fitting : 0;
        if (remedies & ~fitting != 0) revert UnfitRemedies(remedies, fitting);
        (judged.upheld, judged.remedies, judged.rulingDigest) = (upheld, remedies, rulingDigest);
        emit Ruled(caseId, upheld, remedies, rulingDigest, msg.sender);
    }

    function _bringAbout(uint256 caseId, Case storage done, uint8 remedies) private returns (uint256 amount) {
        uint256 id = _number(done.subject);
        bool fileSale = uint256(done.subject) - id == FILE_SALE_SUBJECT;
        if (remedies & TAG != 0) _tag(id, done.claimant, caseId);
        if (remedies & UNTAG != 0) _untag(id, done.respondent, caseId);
        if (remedies & REVOKE != 0) _grants().strike(id, caseId);
        if (remedies & FORFEIT != 0) amount += IRevenue(directory.resolve(REVENUE)).forfeit(id, done.claimant);
        if (remedies & SLASH != 0) {
            amount += ISlashable(directory.resolve(fileSale ? FILE_SALES : MARKET)).slash(id, done.claimant);
        }
    }

    function _tag(uint256 titleId, address claimant, uint256 caseId) private {
        if (_tagger[titleId][claimant]) return;
        _tagger[titleId][claimant] = true;
        ++_tags[titleId];
        _titles().setTag(titleId, true, caseId);
    }

    function _untag(uint256 titleId, address claimant, uint256 caseId) private {
        if (!_tagger[titleId][claimant]) return;
        _tagger[titleId][claimant] = false;
        if (--_tags[titleId] == 0) _titles().setTag(titleId, false, caseId);
    }

    // Only the licensee's own case about a grant has no remedy, and only the first one since it last won stays notices.
    function _stay(uint256 caseId, Case storage running) private returns (bool stayed) {
        uint256 grantId = _number(running.subject);
        if (uint256(running.subject) - grantId != GRANT_SUBJECT || running.fitting != 0) return false;
        if (_stayedBy[grantId] != 0 && _stayedBy[grantId] != caseId) return false;
        stayed = _grants().stay(grantId, caseId);
        if (stayed) _stayedBy[grantId] = caseId;
    }

    function _bond() private view returns (uint64) {
        uint256 bond = members.isHeld(accountSubject(msg.sender)) ? 0 : directory.parameter(CASE_BOND);
        if (bond > MAX_AMOUNT) revert AmountOutOfRange(bond);
        return uint64(bond);
    }

    function _fund(uint256 caseId, uint64 amount) private {
        if (amount == 0) return;
        if (address(vault) == address(0)) vault = IRevenue(directory.resolve(REVENUE));
        vault.fund(bytes32(caseId), msg.sender, amount);
    }

    function _payOut(uint256 caseId, address to, uint64 amount) private {
        if (amount > 0) vault.payOut(bytes32(caseId), to, amount);
    }

    function _enter(Case storage moved, State state) private {
        moved.state = state;
        moved.since = uint64(block.timestamp);
    }

    function _close(Case storage closed, State state) private {
        _enter(closed, state);
        --_undecided[closed.subject];
    }

    function _known(uint256 caseId) private view returns (Case storage found) {
        found = _cases[caseId];
        if (found.state == State.NONE) revert UnknownCase(caseId);
    }

    function _in(uint256 caseId, State state) private view returns (Case storage found) {
        found = _known(caseId);
        if (found.state != state) revert WrongState(caseId, found.state);
    }

    function _undecidedCase(uint256 caseId) private view returns (Case storage found) {
        found = _known(caseId);
        if (found.state > State.FINAL) revert WrongState(caseId, found.state);
    }

    function _refuseParty(uint256 caseId, Case storage found, address account) private view {
        if (account == found.claimant || account == found.respondent) revert IsAParty(caseId, account);
    }

    function _requireHearable(uint256 caseId, address expert) internal view override {
        _refuseParty(caseId, _undecidedCase(caseId), expert);
    }

    function _requireAfter(uint64 time) private view {
        if (block.timestamp < time) revert TooEarly(time);
    }

    function _requireBefore(uint64 time) private view {
        if (block.timestamp >= time) revert TooLate(time);
    }

    function _number(bytes32 subject) private pure returns (uint256) {
        return uint256(subject) & (ACCOUNT_SUBJECT - 1);
    }

    function _titles() private view returns (ITitles) {
        return ITitles(directory.resolve(MODEL_TITLES));
    }

    function _grants() private view returns (IGrants) {
        return IGrants(directory.resolve(GRANTS));
    }
}
