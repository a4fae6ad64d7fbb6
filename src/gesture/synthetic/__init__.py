"""The renderer: hands of people who do not exist, in front of a near-infrared camera."""
