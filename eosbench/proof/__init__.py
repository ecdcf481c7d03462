"""Statements proved for a whole range of parameters, by interval arithmetic (Arb, through python-flint) or exactly."""

from eosbench.proof.existence import ExistenceCertificate as ExistenceCertificate
from eosbench.proof.existence import prove_existence as prove_existence
from eosbench.proof.identity import Identity as Identity
from eosbench.proof.identity import IdentityCertificate as IdentityCertificate
from eosbench.proof.identity import prove_identity as prove_identity
from eosbench.proof.minimum import MinimumCertificate as MinimumCertificate
from eosbench.proof.minimum import prove_minimum as prove_minimum
from eosbench.proof.trap import TrapBox as TrapBox
from eosbench.proof.trap import TrapCertificate as TrapCertificate
from eosbench.proof.trap import prove_trap as prove_trap
from eosbench.proof.two_cycle import Descent as Descent
from eosbench.proof.two_cycle import OrbitBox as OrbitBox
from eosbench.proof.two_cycle import OrbitCertificate as OrbitCertificate
from eosbench.proof.two_cycle import prove_two_cycle as prove_two_cycle
