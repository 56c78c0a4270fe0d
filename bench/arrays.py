"""Names for the array types that pass between modules."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ByteArray = NDArray[np.uint8]
"""uint8: images, NHWC."""
IntArray = NDArray[np.int64]
"""int64: indices, labels, counts."""
FloatArray = NDArray[np.float64]
"""float64: scores, shares, gains."""
Float32Array = NDArray[np.float32]
"""float32: embeddings."""
Pixels = ByteArray | Float32Array
"""Images, NHWC, 255 for white: uint8 as read, float32 where a method made them."""
Arrays = dict[str, NDArray[np.generic]]
"""Named arrays of any type, as stored in one file."""
