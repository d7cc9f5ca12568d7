"""What PNB-X does beside other libraries, each cell of the table checked on the library as it is installed."""
