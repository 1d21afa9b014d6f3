"Starts the web page: python app.py"
import sys

from sneaker_classifier.commands import app

if __name__ == '__main__': sys.exit(app())
