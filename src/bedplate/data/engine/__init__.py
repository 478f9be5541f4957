"""How the tasks of curation are carried out: in this process, by processes of this machine, or by a Ray cluster."""
