"""The command that trains one model of a study, on one process or on many.

python -m tsgen.train --model timesnet --profile paper [--records FOLDER] [--stations A,B] [--seed N]
torchrun --nproc-per-node=N -m tsgen.train …        the same on N processes (gloo on the CPU, nccl on GPUs)
"""

import os
import sys

from torch import distributed

from tsgen.one_sentence import OneSentence
from tsgen.study import Study
from tsgen.trainer import History, TrainingError, fit, load, processes, rank, world_size

__all__ = ["History", "TrainingError", "fit", "load", "main"]


def main(arguments=None):
    """Train the model that the command line names, and print its history; one sentence where that cannot be."""
    parser = OneSentence(prog="python -m tsgen.train", description=__doc__)
    parser.add_argument("--model", required=True)
    parser.ask_for_a_study()
    options = vars(parser.parse_args(arguments))
    name = options.pop("model")
    try:
        study = Study(**options)
        if name == "timesnet" and int(os.environ.get("RANK", 0)) == 0:
            print(study.memory())
        with processes():
            if world_size() > 1:  # all train in the folder where the study resumes
                for turn in (0, 1):  # process 0 prepares the records for the others
                    if min(rank(), 1) == turn:
                        study.background, study.training  # noqa: B018 (read, or simulated and kept)
                    distributed.barrier()
                stage = study.stage("model", name)
                if stage.problem() is not None:
                    stage.build(stage.building)
        if int(os.environ.get("RANK", 0)) == 0:
            study.model(name)  # a run of several processes is finished by now: it is moved into its place
            print(study.history(name).table.to_string(index=False))
    except (ValueError, OSError, TrainingError) as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
