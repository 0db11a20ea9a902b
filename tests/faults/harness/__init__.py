"""What fault tests and the soak share: a proxy that does harm, processes that die, and judges."""
