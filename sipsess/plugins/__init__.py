# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The drop-in package: every module in it may hold supplements, SDP handlers and applications.

Other distributions add modules of their own (``sipsess/plugins/sipsess_<dist>_<subject>.py``,
without an ``__init__.py`` beside them): ``twisted.plugin.pluginPackagePaths`` lets Python look into
each directory of that name on ``sys.path``.
"""

from twisted.plugin import pluginPackagePaths

__path__.extend(pluginPackagePaths(__name__))
__all__: list[str] = []
