"""Event data sets from the files to a report: what can be missing is fetched, what is done is not done again."""
