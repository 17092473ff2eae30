"""`python -m gptspec` is the command line."""

import os
import signal


def main() -> None:
    """Run the command line; Ctrl-C is one line while it is still being loaded, too."""

    def leave(*_: object) -> None:
        os.write(2, b"\ngptspec: stopped before anything was begun\n")
        os._exit(130)

    usual = signal.signal(signal.SIGINT, leave)
    from gptspec.cli import main as run

    signal.signal(signal.SIGINT, usual)
    run()


if __name__ == "__main__":
    main()
