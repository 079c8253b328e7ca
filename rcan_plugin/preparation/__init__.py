"""From images as users have them to what option files name; needs neither torch nor BasicSR."""
