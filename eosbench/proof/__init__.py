"""Statements proved for a whole range of parameters, by interval arithmetic (Arb, through python-flint) or exactly."""

from eosbench.proof._existence import ExistenceCertificate as ExistenceCertificate
from eosbench.proof._existence import prove_existence as prove_existence
from eosbench.proof._families import quartic_descent as quartic_descent
from eosbench.proof._families import squared_descent as squared_descent
from eosbench.proof._families import taylor_descent as taylor_descent
from eosbench.proof._identity import Identity as Identity
from eosbench.proof._identity import IdentityCertificate as IdentityCertificate
from eosbench.proof._identity import prove_identity as prove_identity
from eosbench.proof._jury import jury_identity as jury_identity
from eosbench.proof._logistic_cycle import LogisticCycleCertificate as LogisticCycleCertificate
from eosbench.proof._logistic_cycle import LogisticRegression as LogisticRegression
from eosbench.proof._logistic_cycle import prove_logistic_cycle as prove_logistic_cycle
from eosbench.proof._minimum import MinimumCertificate as MinimumCertificate
from eosbench.proof._minimum import prove_minimum as prove_minimum
from eosbench.proof._planar import prove_basin as prove_basin
from eosbench.proof._trap import TrapBox as TrapBox
from eosbench.proof._trap import TrapCertificate as TrapCertificate
from eosbench.proof._trap import prove_trap as prove_trap
from eosbench.proof._two_cycle import Descent as Descent
from eosbench.proof._two_cycle import OrbitBox as OrbitBox
from eosbench.proof._two_cycle import OrbitCertificate as OrbitCertificate
from eosbench.proof._two_cycle import prove_two_cycle as prove_two_cycle
