"""`python -m tasker_health` is the command `tasker-health`."""

from tasker_health.cli import main

if __name__ == "__main__":
    main()
