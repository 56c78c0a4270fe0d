"""The methods that shrink a training set, a file each; importing this registers them all.

Reading one file tells one method, from its equation to its parameters. What several of them
share is in ``methods.parts``.
"""

import methods.adq
import methods.dq
import methods.facility_location
import methods.full
import methods.graphcut
import methods.herding
import methods.kcenter
import methods.moderate
import methods.random  # noqa: F401
