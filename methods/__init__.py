"""The methods that shrink a training set, a file each; importing this registers them all.

Reading one file tells one method, from its equation to its parameters. What several of them
share is in ``methods.parts``.
"""

import methods.adq
import methods.ccs
import methods.classwise
import methods.d2
import methods.dm
import methods.dq
import methods.dqas
import methods.el2n
import methods.facility_location
import methods.forgetting
import methods.full
import methods.grand
import methods.graphcut
import methods.herding
import methods.indices
import methods.jpeg
import methods.kcenter
import methods.moderate
import methods.random
import methods.resize  # noqa: F401
