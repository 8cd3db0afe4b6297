// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {EXPERT, Members} from "./Members.sol";

/// @title What experts sign about cases.
/// @notice A statement is signed off the ledger (EIP-712) and handed in by anyone, once. It counts until it expires or
///         its expert takes it back, and stays readable for good. The part of `Disputes` that knows experts.
abstract contract Statements {
    /// @dev What is signed. What `digest` is a digest of follows from `schema`.
    struct Statement {
        uint256 caseId;
        bytes32 schema;
        bytes32 digest;
        uint64 expiresAt;
    }

    struct StatementRecord {
        Statement statement;
        address expert;
        bool revoked;
    }

    bytes32 private constant DOMAIN_TYPE =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant STATEMENT_TYPE =
        keccak256("Statement(uint256 caseId,bytes32 schema,bytes32 digest,uint64 expiresAt)");

    Members public immutable members;

    mapping(bytes32 statementId => StatementRecord) private _statements;

    event StatementAdded(
        uint256 indexed caseId,
        address indexed expert,
        bytes32 indexed statementId,
        bytes32 schema,
        bytes32 digest,
        uint64 expiresAt
    );
    event StatementRevoked(uint256 indexed caseId, address indexed expert, bytes32 indexed statementId);

    error EmptyDigest();
    error BadSignature(address expert);
    error StatementExpired(uint64 expiresAt);
    error StatementUsed(bytes32 statementId);
    error UnknownStatement(bytes32 statementId);
    error NotTheExpert(bytes32 statementId, address account);

    constructor(Members members_) {
        members = members_;
    }

    /// @notice Add what an expert signed about a case that is not over. Anyone may hand it in.
    /// @param statement What was signed; not expired.
    /// @param expert Who signed it: a member with the role EXPERT who is no party.
    /// @param signature 65 bytes r, s, v with s in the lower half (EIP-2).
    /// @return statementId Its name: a digest of statement and expert.
    function addStatement(Statement calldata statement, address expert, bytes calldata signature)
        external
        returns (bytes32 statementId)
    {
        _requireHearable(statement.caseId, expert);
        members.requireRole(expert, EXPERT);
        if (statement.schema == 0 || statement.digest == 0) revert EmptyDigest();
        if (statement.expiresAt <= block.timestamp) revert StatementExpired(statement.expiresAt);
        bytes32 signed = statementDigest(statement);
        (address signer, ECDSA.RecoverError failure,) = ECDSA.tryRecoverCalldata(signed, signature);
        if (failure != ECDSA.RecoverError.NoError || signer != expert) revert BadSignature(expert);
        statementId = keccak256(abi.encode(signed, expert));
        if (_statements[statementId].expert != address(0)) revert StatementUsed(statementId);
        _statements[statementId] = StatementRecord(statement, expert, false);
        emit StatementAdded(
            statement.caseId, expert, statementId, statement.schema, statement.digest, statement.expiresAt
        );
    }

    /// @notice Take a statement back; that it was made stays readable. Caller: its expert, in office or not.
    /// @param statementId The statement.
    function revokeStatement(bytes32 statementId) external {
        StatementRecord storage found = _made(statementId);
        if (found.expert != msg.sender) revert NotTheExpert(statementId, msg.sender);
        if (found.revoked) revert StatementUsed(statementId);
        found.revoked = true;
        emit StatementRevoked(found.statement.caseId, msg.sender, statementId);
    }

    /// @notice A statement as it was signed, revoked or not.
    /// @param statementId Its name, from `addStatement`.
    /// @return The statement, its expert, and whether it was revoked.
    function statementRecord(bytes32 statementId) external view returns (StatementRecord memory) {
        return _made(statementId);
    }

    /// @notice Whether a statement counts now: handed in, not revoked, not expired.
    /// @param statementId Its name, from `addStatement`.
    /// @return True if it does.
    function counts(bytes32 statementId) external view returns (bool) {
        StatementRecord storage found = _statements[statementId];
        return !found.revoked && block.timestamp < found.statement.expiresAt;
    }

    /// @notice What an expert signs: the EIP-712 digest of a statement, for this contract on this chain.
    /// @param statement The statement.
    /// @return The digest.
    function statementDigest(Statement calldata statement) public view returns (bytes32) {
        bytes32 content = keccak256(
            abi.encode(STATEMENT_TYPE, statement.caseId, statement.schema, statement.digest, statement.expiresAt)
        );
        return MessageHashUtils.toTypedDataHash(domainSeparator(), content);
    }

    /// @notice The EIP-712 domain: worked out at each call, so that after a fork no signature counts on both chains.
    /// @return Its separator.
    function domainSeparator() public view returns (bytes32) {
        bytes32 name = keccak256("Countermark Disputes");
        return keccak256(abi.encode(DOMAIN_TYPE, name, keccak256("1"), block.chainid, address(this)));
    }

    /// @dev Revert unless the case is known and not over, and the expert no party to it.
    function _requireHearable(uint256 caseId, address expert) internal view virtual;

    function _made(bytes32 statementId) private view returns (StatementRecord storage found) {
        found = _statements[statementId];
        if (found.expert == address(0)) revert UnknownStatement(statementId);
    }
}
