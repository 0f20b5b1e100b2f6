"""The layers that ask the policies of `policy/`, one file each: thin and asynchronous."""
