"""Every error that Countermark raises on purpose.

The tree; a class's ``code`` is stable and is the name of its entry in ``docs/reference/errors.md``::

    CountermarkError
      InputError                 input                 not readable, malformed, out of range
        HostileFile              hostile-file          a stranger's file broke a limit or a format rule
        UnsupportedImage         unsupported-image     an image mode or container we do not mark yet
        UsageProblem             usage                 the command line itself is wrong
      RightsError                rights                the ledger or the terms do not allow it
        NotTitleHolder           not-title-holder
        GrantExpired             grant-expired
        GrantNotStarted          grant-not-started
        GrantRevoked             grant-revoked
        TermsViolated            terms-violated
      VerificationError          verification          a claim was checked and does not hold
        ManifestMismatch         manifest-mismatch
        SignatureInvalid         signature-invalid
        ProofInvalid             proof-invalid
        CheckpointInconsistent   checkpoint-inconsistent
        TimestampInvalid         timestamp-invalid
        PolicyUnmet              policy-unmet
      ConflictError              conflict
        AlreadyRegistered        already-registered
        WorkspaceBusy            workspace-busy
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


class PolicyUnmet(VerificationError):
    """All is genuine, but not what the verifier demanded."""

    code = "policy-unmet"


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
