"""PNB-X beside a GRU of as many bytes on time series of the UCR and UEA archives."""
