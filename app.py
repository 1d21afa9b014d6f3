"Starts the web page: python app.py"
from sneaker_classifier.app import sneaker_app

if __name__ == '__main__': sneaker_app()
