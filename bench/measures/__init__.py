"""The measurements, a module for each subject: `measure` gives its section of the report."""
