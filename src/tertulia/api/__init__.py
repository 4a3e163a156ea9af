"""HTTP: parse, authorise, call, render. One module per resource."""
