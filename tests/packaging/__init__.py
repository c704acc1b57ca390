# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
