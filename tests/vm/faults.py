"""What becomes of a VM where a fault comes between it and its snapshots, in the words of docs/faults.md."""

REFUSED = "refused; nothing is changed"
FAILS = "the module fails within `timeout`; nothing is changed"
TAKEN_BACK = "everything is taken back: the VM and all about it are as before"
NEXT_RUN = "the VM starts, with its data; the next run takes the change back, or finishes it"
