//! RBAC and Node authorization as a pure decision.
