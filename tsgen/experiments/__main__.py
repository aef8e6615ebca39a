import sys

from tsgen.experiments import main

sys.exit(main())
