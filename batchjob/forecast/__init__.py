"""What labelling an input would take, found out before a request is paid for."""
