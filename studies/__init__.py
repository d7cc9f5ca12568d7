"""What PNB-X costs and what it remembers: counted, modelled and measured."""
