// Sends the answer on without a click. Where scripts are off the page's Continue button does the same.
document.getElementById("answer").submit();
