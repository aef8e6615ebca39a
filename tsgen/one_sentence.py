"""How the package's commands refuse what cannot be meant: one sentence, exit code 2. Standard library alone, so that
``run_all.sh`` can refuse before the environment is set up."""

import argparse


class OneSentence(argparse.ArgumentParser):
    """An ArgumentParser that shows its module's text as it stands, and no usage where an argument is wrong."""

    def __init__(self, prog, description, **options):
        raw = argparse.RawDescriptionHelpFormatter
        super().__init__(prog=prog, description=description, formatter_class=raw, **options)

    def ask_for_a_study(self):
        """Add the arguments of ``study.Study`` that a command line can give."""
        self.add_argument("--profile", default="quick", metavar="P", help="profile of the study (quick)")
        self.add_argument("--records", metavar="FOLDER", help="recordings; without it the simulated default")
        self.add_argument("--stations", metavar="A,B", help="target stations")
        self.add_argument("--unit", metavar="U", help="of files that do not state one, as cm/s^2 or g")
        self.add_argument("--seed", type=int, default=0, metavar="N")

    def error(self, message):
        self.exit(2, f"{message}; {self.prog} --help lists what there is\n")
