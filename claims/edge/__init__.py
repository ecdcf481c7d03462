"""Progressive sharpening and the edge of stability, on real images.

Two claims have the size of the paper besides (`--claims-scale paper`): figure 1 and VGG. There 2/eta has the proportion
to the sharpness at the start that it has at the small size, and the bounds are the same; no run has yet shown that they
hold there.
"""
