# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What a peer may send that no peer should: mutated messages, fed to whole agents in virtual time.

``python -m tests.fuzz --count N --seconds S`` runs as long as it may; the tests run some seconds of
it. A seed says all of a round: what is found is played again with ``--seed``.
"""
