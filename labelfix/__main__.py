"""``python -m labelfix``: the command line, as ``torchrun -m labelfix`` starts it too."""

from labelfix.cli import main

if __name__ == "__main__":
    main(prog_name="labelfix")
