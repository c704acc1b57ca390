# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What sipsess costs, in microseconds of processor time; ``python -m benchmarks`` prints it."""
