"""Every error that Countermark raises on purpose.

The tree; a class's ``code`` is stable and is the name of its entry in ``docs/reference/errors.md``::

    CountermarkError
      InputError                 input                 not readable, malformed, out of range
        HostileFile              hostile-file          a stranger's file broke a limit or a format rule
        UnsupportedImage         unsupported-image     an image mode or container we do not mark yet
        UsageProblem             usage                 the command line itself is wrong
        HeldOutOverlap           held-out-overlap      held-out data hold the training data
      RightsError                rights                the ledger or the terms do not allow it
        NotTitleHolder           not-title-holder
        GrantExpired             grant-expired
        GrantNotStarted          grant-not-started
        GrantRevoked             grant-revoked
        TermsViolated            terms-violated
        OnHold                   on-hold               the regulator holds an account, title, grant or sale
        TitleInDispute           title-in-dispute      a ruling tagged the title or an ancestor
        DerivativeRefused        derivative-refused    a parent's terms do not allow the derived model
        UndeclaredDerivative     undeclared-derivative most tensors are those of a registered model
        NotAParty                not-a-party           the case does not concern who wants to act in it
        NotImpartial             not-impartial         an arbiter or expert is a party, or ruled before
        ShortPayment             short-payment         balance or allowance is less than what is due
        OfferExpired             offer-expired         the offer of a sale no longer stands
        IdentityMissing          identity-missing      the market asks for a proof of identity in force
        AuditMissing             audit-missing         the market asks for a recorded memorization audit
      VerificationError          verification          a claim was checked and does not hold
        ManifestMismatch         manifest-mismatch
        SignatureInvalid         signature-invalid
        ProofInvalid             proof-invalid
        CheckpointInconsistent   checkpoint-inconsistent
        TimestampInvalid         timestamp-invalid
        IdentityInvalid          identity-invalid      a proof of identity does not hold
        PolicyUnmet              policy-unmet
        IndexMismatch            index-mismatch        an index is not of these data
      ConflictError              conflict
        AlreadyRegistered        already-registered
        WorkspaceBusy            workspace-busy
        PriceChanged             price-changed         price or fee is more than was agreed to
        OutOfTime                out-of-time           too early or too late
        ComplaintRefused         complaint-refused     the block complained about is what was promised
      NotFoundError              not-found
      KeystoreError              keystore              wrong passphrase, missing key
      MissingExtra               missing-extra         an optional dependency is not installed
      AdapterError               adapter               something outside failed; ``__cause__`` says what
        StorageError             storage
        LedgerError              ledger
          StaleNonce             stale-nonce           another transaction of the account came first
        NetworkError             network
      Interrupted                interrupted           the user stopped the command
      Internal                   internal              a bug of ours: something else was raised

A message is a template plus parameters, so that the edge can say it in the reader's language;
``str(error)`` is English. Third-party exceptions stop at adapters: a leaked ``ValueError`` is a bug.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import ClassVar


class CountermarkError(Exception):
    """Root of the tree.

    Args:
        template: English message with ``{name}`` fields.
        hint: what the reader can do next, also a template; may be empty.
        params: values of the fields.
    """

    code: ClassVar[str] = "countermark"
    exit_code: ClassVar[int] = 2

    def __init__(self, template: str, /, *, hint: str = "", **params: object) -> None:
        super().__init__(template)
        self.template = template
        self.hint_template = hint
        self.params = params

    @property
    def hint(self) -> str:
        """The hint in English, or an empty string."""
        return self.hint_template.format(**self.params)

    def __str__(self) -> str:
        return self.template.format(**self.params)


class InputError(CountermarkError):
    """What was given cannot be used as it is."""

    code = "input"


class HostileFile(InputError):
    """A file broke a limit or a rule of its format; nothing of it was executed or trusted."""

    code = "hostile-file"


class UnsupportedImage(InputError):
    """An image mode or container that is not marked yet."""

    code = "unsupported-image"


class UsageProblem(InputError):
    """The command line itself is wrong."""

    code = "usage"


class HeldOutOverlap(InputError):
    """Images or texts that are called held out stand in the training data: nothing could be calibrated on them."""

    code = "held-out-overlap"


class RightsError(CountermarkError):
    """The ledger or the terms do not allow the act."""

    code = "rights"
    exit_code = 1


class NotTitleHolder(RightsError):
    """The party does not hold the title."""

    code = "not-title-holder"


class GrantExpired(RightsError):
    """The grant's window has ended."""

    code = "grant-expired"


class GrantNotStarted(RightsError):
    """The grant's window has not begun."""

    code = "grant-not-started"


class GrantRevoked(RightsError):
    """The grant was revoked."""

    code = "grant-revoked"


class TermsViolated(RightsError):
    """The act is outside the scope of the terms."""

    code = "terms-violated"


class OnHold(RightsError):
    """The regulator holds an account, title, grant or sale that would have to move."""

    code = "on-hold"


class TitleInDispute(RightsError):
    """A ruling tagged the title or a model that it is derived from."""

    code = "title-in-dispute"


class DerivativeRefused(RightsError):
    """The terms of a parent do not allow the derived model, or its ancestors are too many."""

    code = "derivative-refused"


class UndeclaredDerivative(RightsError):
    """Most of a model's tensors are those of a registered model that it does not name as a parent."""

    code = "undeclared-derivative"


class NotAParty(RightsError):
    """The case, or what it is about, does not concern who wants to act in it."""

    code = "not-a-party"


class NotImpartial(RightsError):
    """An arbiter or expert is a party to the case, or ruled on it before."""

    code = "not-impartial"


class ShortPayment(RightsError):
    """The payer's balance, or what it allowed the vault to take, is less than what is due."""

    code = "short-payment"


class OfferExpired(RightsError):
    """The offer of a sale no longer stands."""

    code = "offer-expired"


class IdentityMissing(RightsError):
    """The market asks its parties for a proof of identity, and this one has none in force."""

    code = "identity-missing"


class AuditMissing(RightsError):
    """The market asks for a recorded memorization audit of what is sold, and there is none."""

    code = "audit-missing"


class VerificationError(CountermarkError):
    """A claim was checked and does not hold."""

    code = "verification"
    exit_code = 1


class ManifestMismatch(VerificationError):
    """Files and manifest differ."""

    code = "manifest-mismatch"


class SignatureInvalid(VerificationError):
    """A signature does not verify, or is by another key than required."""

    code = "signature-invalid"


class ProofInvalid(VerificationError):
    """An inclusion, consistency or receipt proof does not verify."""

    code = "proof-invalid"


class CheckpointInconsistent(VerificationError):
    """Two checkpoints of one log cannot both be true."""

    code = "checkpoint-inconsistent"


class TimestampInvalid(VerificationError):
    """An RFC 3161 token does not verify."""

    code = "timestamp-invalid"


class IdentityInvalid(VerificationError):
    """A certificate or an ID token does not prove that an organization is behind a party."""

    code = "identity-invalid"


class PolicyUnmet(VerificationError):
    """All is genuine, but not what the verifier demanded."""

    code = "policy-unmet"


class IndexMismatch(VerificationError):
    """A saved index or calibration was made from other data than those it is used with."""

    code = "index-mismatch"


class ConflictError(CountermarkError):
    """The act contradicts an earlier one."""

    code = "conflict"
    exit_code = 1


class AlreadyRegistered(ConflictError):
    """The same weights already have a title."""

    code = "already-registered"


class WorkspaceBusy(ConflictError):
    """Another process holds the workspace."""

    code = "workspace-busy"


class PriceChanged(ConflictError):
    """Price or fee is more than the buyer agreed to."""

    code = "price-changed"


class OutOfTime(ConflictError):
    """The act has to wait for its time, or came after it."""

    code = "out-of-time"


class ComplaintRefused(ConflictError):
    """The block of a sealed file that was complained about is what was promised."""

    code = "complaint-refused"


class NotFoundError(CountermarkError):
    """No such record."""

    code = "not-found"


class KeystoreError(CountermarkError):
    """The keystore cannot be opened, or lacks the key."""

    code = "keystore"


class MissingExtra(CountermarkError):
    """An optional dependency is not installed."""

    code = "missing-extra"


class AdapterError(CountermarkError):
    """Something outside failed; ``__cause__`` holds the original."""

    code = "adapter"
    exit_code = 3


class StorageError(AdapterError):
    """Database or file system failed."""

    code = "storage"


class LedgerError(AdapterError):
    """The ledger refused or failed."""

    code = "ledger"


class StaleNonce(LedgerError):
    """Prepared for a turn of the account that another transaction took, or that has not come: prepare it again."""

    code = "stale-nonce"


class NetworkError(AdapterError):
    """A service could not be reached or answered badly."""

    code = "network"


class Interrupted(CountermarkError):
    """The user stopped the command."""

    code = "interrupted"
    exit_code = 3


class Internal(CountermarkError):
    """A bug of ours: something was raised that is not in this tree. Made by the command line alone."""

    code = "internal"
    exit_code = 3


def require(module: str, extra: str) -> ModuleType:
    """Import an optional dependency, or say how to install it.

    Raises:
        MissingExtra: with the install line.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "{module} is not installed",
            hint="Install it with: pip install 'countermark[{extra}]'",
            module=module,
            extra=extra,
        ) from error
