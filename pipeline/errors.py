"""What can go wrong, drawn once.

BautaError
* UsageError                      wrong command or argument            exit code 2
  * SettingsError                 a configuration key or value         exit code 2
* SourceError                     the camera or file
  * SourceTimeout                 it accepted, then stayed silent
  * SourceRefused                 wrong credentials, no such path: retrying cannot help soon
  * NotAVideo                     no decodable video inside
* ProtectionError                 this frame must not be published as it is
  * DetectionFailed               the detector raised, hung or was overloaded
* EncodeError                     no encoder, or it refused
* RecordingError                  a recording, or what lies beside it, cannot be read or shown
* StoreError                      the console's database
* AccountRefused                  the rules of accounts do not allow it
  * ActorRefused                  who does it was removed, disabled or lost the role meanwhile
* SinkError                       a destination refused, stalled or is full
* VaultError                      keys, sealed records, the audit log
  * KeyRefused                    a wrong key, password or passphrase
  * SidecarError                  a sidecar that is damaged, altered or of another clip
  * RecordError                   bytes that are no record of the format bauta/1
  * NothingOpened                 keys and clip do not fit; which check failed is not said
* RequestRefused                  a step of a recovery request that its rules do not allow
* ConsoleError                    a console that cannot be reached, or that says no to a command

`engines` has a root of its own, EngineError: it must not import this package.
Every message is one line: what is wrong, the rule, what to do. No credential, no pixel.
"""


class BautaError(Exception):
    """The root: anything the command line prints as one line instead of a stack trace."""


class UsageError(BautaError):
    """The command was used wrongly."""


class SettingsError(UsageError):
    """A configuration key or value breaks a rule."""


class SourceError(BautaError):
    """The camera or file cannot be read."""


class SourceTimeout(SourceError):
    """The source accepted the connection and then stayed silent."""


class SourceRefused(SourceError):
    """The source answered no: wrong credentials or unknown path."""


class NotAVideo(SourceError):
    """The source can be opened but holds no decodable video."""


class ProtectionError(BautaError):
    """A frame could not be protected and must be obscured whole."""


class DetectionFailed(ProtectionError):
    """The detector raised, hung, or had no room."""


class EncodeError(BautaError):
    """No encoder fits, or the encoder refused a frame."""


class RecordingError(BautaError):
    """A recording, or what lies beside it, cannot be read or shown."""


class StoreError(BautaError):
    """The console's database cannot be used: busy, damaged, too new, or out of reach."""


class AccountRefused(BautaError):
    """A rule of accounts: a name that is taken or unknown, the last administrator."""


class ActorRefused(AccountRefused):
    """Whoever is doing something was removed, disabled, or lost role or camera meanwhile."""


class SinkError(BautaError):
    """A destination refused, stalled or is full."""


class VaultError(BautaError):
    """A key, a sealed record or the audit log cannot be used."""


class KeyRefused(VaultError):
    """This key, password or passphrase does not open it."""


class SidecarError(VaultError):
    """A sidecar is damaged, was altered, or belongs to another clip."""


class RecordError(VaultError):
    """Bytes that break the format bauta/1."""


class NothingOpened(VaultError):
    """No face opened. One message for all causes: which check failed would help whoever tries."""


class RequestRefused(BautaError):
    """A recovery request may not be made, decided or carried out so; the message says the rule."""


class ConsoleError(BautaError):
    """The console cannot be reached, is none, or answered a command with an error."""
