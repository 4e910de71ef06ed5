"""The transforms beside their peers: images a second, seconds an epoch, a moved slider."""
