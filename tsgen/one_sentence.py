"""How the package's commands refuse what cannot be meant: one sentence, exit code 2. Standard library alone, so that
``run_all.sh`` can refuse before the environment is set up."""

import argparse


class OneSentence(argparse.ArgumentParser):
    """An ArgumentParser that shows its module's text as it stands, and no usage where an argument is wrong."""

    def __init__(self, prog, description, **options):
        raw = argparse.RawDescriptionHelpFormatter
        super().__init__(prog=prog, description=description, formatter_class=raw, **options)

    def error(self, message):
        self.exit(2, f"{message}; {self.prog} --help lists what there is\n")
